package api

import (
	"net/http"
	"strings"
	"unicode"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

const (
	maxLabel     = 64
	maxPushToken = 4096
)

// deviceAnswer is a device as its owner sees it: the push token never leaves.
type deviceAnswer struct {
	ID              string `json:"device_id"`
	Type            string `json:"device_type"`
	Name            string `json:"device_name"`
	Platform        string `json:"platform"`
	PlatformVersion string `json:"platform_version"`
	AppVersion      string `json:"app_version"`
	HasFCMToken     bool   `json:"has_fcm_token"`
}

// device answers PUT /device.
func (a *API) device(w http.ResponseWriter, r *http.Request, _ string) error {
	owner, err := a.owner(w, r)
	if err != nil {
		return err
	}
	f, err := readFields(w, r)
	if err != nil {
		return err
	}
	in := deviceInput(f)
	if f.err != nil {
		return f.err
	}
	d, hasPush, err := a.Service.UpdateDevice(r.Context(), owner.proof, in)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, deviceAnswer{
		ID: d.ID, Type: d.Type, Name: d.Name, Platform: d.Platform,
		PlatformVersion: d.PlatformVersion, AppVersion: d.AppVersion, HasFCMToken: hasPush,
	})
}

// deviceInput reads device fields; what it does not know it drops.
func deviceInput(f *fields) auth.DeviceInput {
	in := auth.DeviceInput{
		ID:              f.text("device_id"),
		Type:            label(f.text("device_type")),
		Name:            label(f.text("device_name")),
		Platform:        label(f.text("platform")),
		PlatformVersion: label(f.text("platform_version")),
		AppVersion:      label(f.text("app_version")),
		PushToken:       clean(f.text("fcm_token")),
	}
	if !goodDeviceID(in.ID) {
		f.fail("device_id must be at most 64 printable ASCII characters.")
	}
	if len([]rune(in.PushToken)) > maxPushToken {
		f.fail("fcm_token must have at most 4096 characters.")
	}
	return in
}

// goodDeviceID keeps out what could not be sent in a header as it is. An id is
// an identity and not a label: cleaning it would make two devices one.
func goodDeviceID(id string) bool {
	if len(id) > maxLabel || strings.TrimSpace(id) != id {
		return false
	}
	for i := range len(id) {
		if id[i] < ' ' || id[i] > '~' {
			return false
		}
	}
	return true
}

// label cleans a text that people read and cuts it at 64 characters.
func label(text string) string {
	runes := []rune(clean(text))
	if len(runes) > maxLabel {
		runes = runes[:maxLabel]
	}
	return strings.TrimSpace(string(runes))
}

// clean removes control and bidi characters: in a list of devices or a
// terminal they could make one entry look like another.
func clean(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, text))
}
