package phone

import (
	"strings"

	"github.com/nyaruka/phonenumbers"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// AllCountries in a list of countries allows every one of them.
const AllCountries = "*"

// Country returns the ISO 3166-1 alpha-2 code of the country that a number
// belongs to. It tells the countries that share a calling code apart (+1, +7,
// +44). It is empty for a number that no country's plan knows, and for those
// that belong to none: satellites, international freephone.
func Country(e164 string) string {
	number, err := phonenumbers.Parse(e164, "")
	if err != nil {
		return ""
	}
	return countryOf(number)
}

func countryOf(number *phonenumbers.PhoneNumber) string {
	region := phonenumbers.GetRegionCodeForNumber(number)
	if len(region) != 2 { // "001" is the library's word for the whole world
		return ""
	}
	return region
}

// Allowed says whether a code may be sent to a number that Parse gave:
// otherwise an auth.Error with CodePhoneNotSupported. countries holds ISO codes
// or AllCountries; an empty list allows none. Test numbers get no message, so
// they are not asked about.
//
// Numbers of no country are refused under AllCountries too: satellite networks
// are the dearest there are, and a favourite of those who earn by making others
// send messages.
func Allowed(e164 string, countries []string) error {
	number, err := phonenumbers.Parse(e164, "")
	if err != nil {
		return auth.Refuse(auth.CodePhoneNotSupported)
	}
	country := countryOf(number)
	if country == "" || !reachable(number) {
		return auth.Refuse(auth.CodePhoneNotSupported)
	}
	for _, allowed := range countries {
		if allowed == AllCountries || strings.EqualFold(allowed, country) {
			return nil
		}
	}
	return auth.Refuse(auth.CodePhoneNotSupported)
}

// reachable refuses the kinds of number that pay their owner for every message,
// or get none on any channel.
func reachable(number *phonenumbers.PhoneNumber) bool {
	switch phonenumbers.GetNumberType(number) {
	case phonenumbers.PREMIUM_RATE, phonenumbers.SHARED_COST, phonenumbers.PERSONAL_NUMBER,
		phonenumbers.PAGER, phonenumbers.VOICEMAIL, phonenumbers.UAN, phonenumbers.UNKNOWN:
		return false
	}
	return true
}

// OnlyCalls reports whether a number is surely that of a fixed line: it can be
// called, and gets no text message. In the countries where the number does not
// tell a fixed line from a mobile one (North America), none is.
func OnlyCalls(e164 string) bool {
	number, err := phonenumbers.Parse(e164, "")
	return err == nil && phonenumbers.GetNumberType(number) == phonenumbers.FIXED_LINE
}

// KnownCountry reports whether a code, in either letter case, is that of a
// country with telephone numbers. It is for checking a configuration;
// AllCountries is no country.
func KnownCountry(code string) bool {
	return len(code) == 2 && phonenumbers.GetSupportedRegions()[strings.ToUpper(code)]
}
