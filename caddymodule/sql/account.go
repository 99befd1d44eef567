package sql

import (
	"errors"
	"strings"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// wellNamed reports whether columns are those that account reads. The fourth
// must have its name: read by its place alone, a column "active" would let in
// exactly those who are not.
func wellNamed(names []string) bool {
	return len(names) == 3 || len(names) == 4 && strings.EqualFold(names[3], "banned")
}

// account reads the columns id, type, roles and, if there is one, banned. The
// domain checks what the values may be. Errors name a column, and no value: it
// may be the number.
func account(row []any) (auth.Account, error) {
	banned, err := isBanned(row[3:])
	if err != nil {
		return auth.Account{}, err
	}
	id, err := userID(row[0])
	if err != nil {
		return auth.Account{}, err
	}
	if banned || id == 0 {
		return auth.Account{}, auth.Refuse(auth.CodeAccountDisabled)
	}
	kind, ok := text(row[1])
	if !ok || kind == "" {
		return auth.Account{}, errors.New("the query's second column, the type, is NULL, empty or no text")
	}
	roles, err := roleList(row[2])
	if err != nil {
		return auth.Account{}, err
	}
	return auth.Account{UserID: id, Type: kind, Roles: roles}, nil
}

// userID is 0 for NULL.
func userID(value any) (uint64, error) {
	switch v := value.(type) {
	case nil:
		return 0, nil
	case int64:
		if v >= 0 {
			return uint64(v), nil
		}
	}
	return 0, errors.New("the query's first column, the id, is no whole number from 1 to 9007199254740991")
}

// isBanned reads the column banned: a boolean, or a number or bit of 0 or 1,
// which MySQL has in its place. NULL is none of them, and a fault.
func isBanned(column []any) (bool, error) {
	if len(column) == 0 {
		return false, nil
	}
	switch v := column[0].(type) {
	case bool:
		return v, nil
	case int64:
		if v == 0 || v == 1 {
			return v == 1, nil
		}
	case []byte:
		if len(v) == 1 && v[0] <= 1 {
			return v[0] == 1, nil
		}
	}
	return false, errors.New("the query's column banned is neither true nor false")
}

func text(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case []byte:
		return string(v), true
	}
	return "", false
}
