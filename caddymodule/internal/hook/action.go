package hook

import (
	"encoding/json"
	"errors"
)

var errNoAction = errors.New(`the answer is not {"action": …} with one of the agreed words`)

// action reads {"action": "…"}; other members may stand beside it.
func action(answer []byte) (found string, err error) {
	m, err := members(answer, "action")
	if err != nil {
		return "", err
	}
	if json.Unmarshal(m["action"], &found) != nil || found == "" {
		return "", errNoAction
	}
	return found, nil
}
