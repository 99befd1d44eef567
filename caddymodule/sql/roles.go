package sql

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
)

const maxRoles = 64 << 10 // bytes; a webhook's answer may have as many

var errRoles = errors.New("the query's third column, the roles, is no list: use text with commas or spaces, a JSON array of texts, or text[]")

// roleList reads the roles: none for NULL, else a JSON array, an array of
// PostgreSQL, or names with commas or spaces between them. What begins as an
// array must be one: half of a list is not the list.
func roleList(value any) ([]string, error) {
	if value == nil {
		return nil, nil
	}
	list, ok := text(value)
	list = strings.Trim(list, " ")
	switch {
	case !ok || len(list) > maxRoles:
		return nil, errRoles
	case strings.HasPrefix(list, "["):
		var roles []string
		if json.Unmarshal([]byte(list), &roles) != nil {
			return nil, errRoles
		}
		return roles, nil
	case strings.HasPrefix(list, "{"):
		return arrayOf(list)
	}
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }), nil
}

// How PostgreSQL writes an array of one dimension, which is how database/sql
// gets it (www.postgresql.org/docs/current/arrays.html#ARRAYS-IO).
const element = `"(?:[^"\\]|\\.)*"|[^{}",\\\s]+`

var (
	elements = regexp.MustCompile(`(?s)` + element)
	array    = regexp.MustCompile(`(?s)^\{(?:(?:` + element + `)(?:,(?:` + element + `))*)?\}$`)
	escaped  = regexp.MustCompile(`(?s)\\(.)`)
)

func arrayOf(list string) ([]string, error) {
	if !array.MatchString(list) {
		return nil, errRoles
	}
	var roles []string
	for _, role := range elements.FindAllString(list, -1) {
		if strings.EqualFold(role, "NULL") {
			return nil, errRoles
		}
		if role[0] == '"' {
			role = escaped.ReplaceAllString(role[1:len(role)-1], "$1")
		}
		roles = append(roles, role)
	}
	return roles, nil
}
