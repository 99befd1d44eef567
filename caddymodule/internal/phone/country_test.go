package phone_test

import (
	"errors"
	"testing"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/phone"
)

func TestCountry(t *testing.T) {
	for number, want := range map[string]string{
		"+46701740605":   "SE",
		"+12125550123":   "US",
		"+16135550123":   "CA", // shares +1
		"+77012345678":   "KZ", // shares +7
		"+447400123456":  "GB",
		"+447781123456":  "GG", // shares +44
		"+8001234567890": "",   // international freephone: no country
		"+15555550100":   "",
		"+999":           "",
		"nonsense":       "",
	} {
		if got := phone.Country(number); got != want {
			t.Errorf("Country(%q) = %q, want %q", number, got, want)
		}
	}
}

func TestAllowed(t *testing.T) {
	all := []string{phone.AllCountries}
	for _, row := range []struct {
		name, number string
		countries    []string
		want         bool
	}{
		{"a country of the list", "+46701740605", []string{"NO", "SE"}, true},
		{"a country of the list in small letters", "+46701740605", []string{"se"}, true},
		{"a country that is not in the list", "+46701740605", []string{"NO", "GB"}, false},
		{"an empty list allows none", "+46701740605", nil, false},
		{"the star allows all", "+46701740605", all, true},
		{"a neighbour on the same calling code is another country", "+447781123456", []string{"GB"}, false},
		{"a fixed line can be called", "+442079460958", all, true},
		{"premium rate earns its owner money", "+19002345678", all, false},
		{"premium rate in the listed country", "+449012345678", []string{"GB"}, false},
		{"shared cost", "+448431234567", all, false},
		{"personal number that costs what its owner wants", "+447012345678", all, false},
		{"pager", "+447640123456", all, false},
		{"company number (UAN)", "+445512345678", all, false},
		{"voicemail", "+491517001234567", all, false},
		{"satellite phone", "+881612345678", all, false},
		{"international premium rate", "+979123456789", all, false},
		{"a number that is none", "+999", all, false},
		{"text that is no number", "x", all, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := phone.Allowed(row.number, row.countries)
			if row.want && err != nil {
				t.Errorf("Allowed(%q) = %v, want nil", row.number, err)
			}
			if !row.want && !errors.Is(err, auth.Refuse(auth.CodePhoneNotSupported)) {
				t.Errorf("Allowed(%q) = %v, want phone_not_supported", row.number, err)
			}
		})
	}
}

func TestOnlyCalls(t *testing.T) {
	for number, want := range map[string]bool{
		"+442079460958": true,  // London
		"+4684004000":   true,  // Stockholm
		"+447400123456": false, // mobile
		"+46701740605":  false,
		"+12125550123":  false, // fixed or mobile: the number does not tell
		"+15555550100":  false, // a test number, of no plan
		"nonsense":      false,
	} {
		if got := phone.OnlyCalls(number); got != want {
			t.Errorf("OnlyCalls(%q) = %v, want %v", number, got, want)
		}
	}
}

func TestKnownCountry(t *testing.T) {
	for code, want := range map[string]bool{
		"SE": true, "gb": true, "US": true, "XX": false, "": false, "SWE": false, "001": false, "*": false, "EU": false,
	} {
		if got := phone.KnownCountry(code); got != want {
			t.Errorf("KnownCountry(%q) = %v, want %v", code, got, want)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := phone.Parse("+46 70-174 06 05"); err != nil {
			b.Fatal(err)
		}
	}
}
