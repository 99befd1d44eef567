package phone_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sidegate/sidegate/caddymodule/auth"
	"github.com/sidegate/sidegate/caddymodule/internal/phone"
)

func TestParseGivesOneSpelling(t *testing.T) {
	for _, row := range []struct{ name, text, want string }{
		{"E.164 stands for itself", "+46701740605", "+46701740605"},
		{"spaces and dashes are dropped", "+46 70-174 06 05", "+46701740605"},
		{"dots, slashes and brackets are dropped", "+46 (70) 174.06/05", "+46701740605"},
		{"non-breaking spaces are dropped", "+46\u00a070\u00a0174\u00a006\u00a005", "+46701740605"},
		{"spaces around are trimmed", "  +46701740605 ", "+46701740605"},
		{"trunk zero is dropped", "+61 0412 345 678", "+61412345678"},
		{"without the trunk zero it is the same user", "+61412345678", "+61412345678"},
		{"trunk zero in brackets is dropped", "+44 (0)7911 123456", "+447911123456"},
		{"the leading zero of an Italian line is kept", "+39 06 698 12345", "+390669812345"},
		{"a short plan is complete with seven digits", "+683 4002", "+6834002"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := phone.Parse(row.text)
			if err != nil || got != row.want {
				t.Errorf("Parse(%q) = %q, %v; want %q", row.text, got, err, row.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, row := range []struct{ name, text string }{
		{"nothing", ""},
		{"a plus alone", "+"},
		{"a national number", "0701740605"},
		{"an international prefix instead of the plus", "0046701740605"},
		{"a full-width plus", "＋46701740605"},
		{"full-width digits", "+４６701740605"},
		{"Arabic-Indic digits", "+46٧٠1740605"},
		{"letters that stand for digits", "+1 800 FLOWERS"},
		{"an extension", "+46701740605 ext. 5"},
		{"an extension with x", "+46701740605x5"},
		{"an RFC 3966 extension", "+46701740605;ext=5"},
		{"an RFC 3966 context", "tel:+46701740605;phone-context=+1"},
		{"a second plus", "+46+701740605"},
		{"a plus at the end", "+46701740605+"},
		{"a comma, which means a pause", "+46701740605,,5"},
		{"a hash", "+46701740605#"},
		{"a star", "+46*701740605"},
		{"a tab", "+46\t701740605"},
		{"a newline at the end", "+46701740605\n"},
		{"a NUL", "+46701740605\x00"},
		{"a right-to-left mark", "+46\u200f701740605"},
		{"broken UTF-8", "+46701740605\xff"},
		{"more than 32 bytes", "+46" + strings.Repeat(" ", 24) + "701740605"},
		{"an unknown calling code", "+999701740605"},
		{"too few digits", "+467017"},
		{"too many digits", "+46701740605123456"},
		{"a number that no plan has", "+15555550100"},
		{"two numbers", "+46701740605 +46701740606"},
		{"two numbers with a slash", "+46701740605/46701740606"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := phone.Parse(row.text)
			if !errors.Is(err, auth.Refuse(auth.CodePhoneInvalid)) || got != "" {
				t.Errorf("Parse(%q) = %q, %v; want phone_invalid", row.text, got, err)
			}
		})
	}
}

func TestParseWithTestNumbers(t *testing.T) {
	isTest := func(e164 string) bool { return e164 == "+15555550100" || e164 == "+1" }
	for _, row := range []struct{ name, text, want string }{
		{"a test number is taken", "+15555550100", "+15555550100"},
		{"a test number in another spelling is taken", "+1 (555) 555-0100", "+15555550100"},
		{"another number without a plan is refused", "+15555550101", ""},
		{"a test number must have the shape of a number", "+1", ""},
		{"a test number with an extension is refused", "+15555550100x1", ""},
		{"other numbers follow the rules", "+61 0412 345 678", "+61412345678"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got, err := phone.ParseWith(row.text, isTest); got != row.want || (err == nil) != (row.want != "") {
				t.Errorf("ParseWith(%q) = %q, %v; want %q", row.text, got, err, row.want)
			}
		})
	}
}

func TestPlausible(t *testing.T) {
	for text, want := range map[string]bool{
		"+15555550100": true, "+12345678": true, "+123456789012345": true,
		"": false, "+": false, "15555550100": false, "+1234567": false, "+1234567890123456": false,
		"+01234567890": false, "+1 5555550100": false, "+1555555010a": false, "++5555550100": false,
	} {
		if got := phone.Plausible(text); got != want {
			t.Errorf("Plausible(%q) = %v, want %v", text, got, want)
		}
	}
}

func TestMask(t *testing.T) {
	for text, want := range map[string]string{
		"+46701740655": "+•••••••••55",
		"+12":          "+••••",
		"":             "+••••",
		"+1234":        "+••34",
		"no number":    "+••••",
	} {
		if got := phone.Mask(text); got != want {
			t.Errorf("Mask(%q) = %q, want %q", text, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"+46701740605", "+61 0412 345 678", "+44 (0)7911 123456", "+39 06 698 12345", "+1 (555) 555-0100",
		"+54 11 15 2345 6789", "+52 1 55 1234 5678", "+55 0 15 11 91234 5678", "+683 4002", "+46701740605;ext=5",
		"+４６701740605", "+8001234567890", "+\u00a01", "++1", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		once, err := phone.Parse(text)
		if err != nil {
			if !errors.Is(err, auth.Refuse(auth.CodePhoneInvalid)) || once != "" {
				t.Fatalf("Parse(%q) = %q, %v", text, once, err)
			}
			return
		}
		if twice, err := phone.Parse(once); err != nil || twice != once {
			t.Fatalf("Parse(%q) = %q, but parsed again %q, %v", text, once, twice, err)
		}
		if digits := strings.Trim(once, "0123456789"); digits != "+" || len(once) > 16 {
			t.Fatalf("Parse(%q) = %q, which is not E.164", text, once)
		}
		_ = phone.Allowed(once, []string{phone.AllCountries})
	})
}
