package token

import (
	"bytes"
	"encoding/json"
	"io"
)

// member is one name of a JSON object with its value as written.
type member struct {
	name  string
	value json.RawMessage
}

// members lists the members of a JSON object in their order, each as often as
// it comes: encoding/json would let the last one win in silence (RFC 8259,
// section 4). whole is false when data is anything but one object; then the
// list has what could be read.
func members(data []byte) (list []member, whole bool) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return nil, false
	}
	for decoder.More() {
		token, err := decoder.Token()
		name, isName := token.(string)
		if err != nil || !isName {
			return list, false
		}
		m := member{name: name}
		if decoder.Decode(&m.value) != nil {
			return list, false
		}
		list = append(list, m)
	}
	if _, err := decoder.Token(); err != nil {
		return list, false
	}
	_, err := decoder.Token()
	return list, err == io.EOF
}
