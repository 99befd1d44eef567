package auth_test

import (
	"strings"
	"testing"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

func TestEnteredCode(t *testing.T) {
	for _, row := range []struct {
		name, entered, want string // empty: it is no code
	}{
		{"as it was sent", "012345", "012345"},
		{"in groups", " 012 345\n", "012345"},
		{"with a dash of a phone's keyboard", "012–345", "012345"},
		{"with a space that does not break", "012\u00a0345", "012345"},
		{"the longest", "0123456789", "0123456789"},
		{"too short", "01234", ""},
		{"too long", "01234567890", ""},
		{"a letter", "01234O", ""},
		{"digits of another script", "١٢٣٤٥٦", ""},
		{"a sign", "+012345", ""},
		{"nothing", "", ""},
		{"very much", strings.Repeat("1", 1<<20), ""},
	} {
		got := auth.EnteredCode(row.entered)
		if auth.IsCode(got) != (row.want != "") || row.want != "" && got != row.want {
			t.Errorf("%s: %.20q", row.name, got)
		}
	}
}
