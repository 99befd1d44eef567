package hook

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

var errNoAction = errors.New(`the answer is not {"action": …} with one of the agreed words`)

// action reads {"action": "…"}; other members may stand beside it. It takes no
// answer that two readers could understand differently: a second action, in
// whatever case, or something behind the document.
func action(answer []byte) (found string, err error) {
	d := json.NewDecoder(bytes.NewReader(answer))
	if begin, err := d.Token(); err != nil || begin != json.Delim('{') {
		return "", errNoAction
	}
	for d.More() {
		name, err := d.Token()
		var value json.RawMessage
		if err != nil || d.Decode(&value) != nil {
			return "", errNoAction
		}
		if key, _ := name.(string); !strings.EqualFold(key, "action") {
			continue
		} else if key != "action" || found != "" || json.Unmarshal(value, &found) != nil || found == "" {
			return "", errNoAction
		}
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return "", errNoAction
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) || found == "" {
		return "", errNoAction
	}
	return found, nil
}
