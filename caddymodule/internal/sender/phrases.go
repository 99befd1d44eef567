package sender

import (
	"strconv"
	"strings"
	"time"
)

// phrases are what a message is made of in one language. Every letter is in the
// GSM alphabet: that is why Spanish has no código here.
type phrases struct {
	code, named     string // without and with the application's name
	minute, minutes string
	second, seconds string
	warning         string
	moved, movedFor string // the notice to a former number, without and with the name
}

// standard are the languages that need no template of the operator. Arabic and
// Hindi cannot be written in the GSM alphabet, so who reads them gets English.
var standard = map[string]phrases{
	"en": {
		"Your code is {code}.", "Your {app} code is {code}.", " It is valid for 1 minute.", " It is valid for {n} minutes.",
		" It is valid for 1 second.", " It is valid for {n} seconds.", " Do not share it.",
		"Your sign-in number was changed. If this was not you, contact support at once.",
		"Your sign-in number for {app} was changed. If this was not you, contact support at once.",
	},
	"de": {
		"Ihr Code ist {code}.", "Ihr Code für {app} ist {code}.", " Er gilt 1 Minute.", " Er gilt {n} Minuten.",
		" Er gilt 1 Sekunde.", " Er gilt {n} Sekunden.", " Geben Sie ihn nicht weiter.",
		"Ihre Nummer zum Anmelden wurde geändert. Waren Sie das nicht? Melden Sie es dem Support.",
		"Ihre Nummer zum Anmelden bei {app} wurde geändert. Waren Sie das nicht? Melden Sie es dem Support.",
	},
	"es": {
		"Tu clave es {code}.", "Tu clave de {app} es {code}.", " Vale 1 minuto.", " Vale {n} minutos.",
		" Vale 1 segundo.", " Vale {n} segundos.", " No la compartas.",
		"Ha cambiado el teléfono con el que entras. Si no lo has pedido, avisa ya a soporte.",
		"Ha cambiado el teléfono con el que entras en {app}. Si no lo has pedido, avisa ya a soporte.",
	},
	"fr": {
		"Votre code est {code}.", "Votre code {app} est {code}.", " Il est valable 1 minute.", " Il est valable {n} minutes.",
		" Il est valable 1 seconde.", " Il est valable {n} secondes.", " Ne le partagez pas.",
		"Votre numéro de connexion a été changé. Si ce n'est pas vous, contactez vite l'assistance.",
		"Votre numéro de connexion à {app} a été changé. Si ce n'est pas vous, contactez vite l'assistance.",
	},
}

// text is one GSM 7-bit message. The last line is left out when the host is too
// long for it; then whatever else there is no room for. A ttl of zero is not
// mentioned.
func (p phrases) text(name, code string, ttl time.Duration, host string) string {
	last := bind(host, code)
	if septets(p.sentence("", code)+last) > maxSeptets {
		last = ""
	}
	valid := p.validFor(ttl)
	for _, more := range []string{valid + p.warning, valid, ""} {
		if text := p.sentence(name, code) + more + last; septets(text) <= maxSeptets {
			return text
		}
	}
	for name != "" && septets(p.sentence(name, code)+last) > maxSeptets {
		runes := []rune(name)
		name = strings.TrimSpace(string(runes[:len(runes)-1]))
	}
	return p.sentence(name, code) + last
}

func (p phrases) sentence(name, code string) string {
	if name == "" {
		return fill(p.code, "", code)
	}
	return fill(p.named, name, code)
}

// notice is what the owner of a number reads that signs in no longer. It fits
// with any name.
func (p phrases) notice(name string) string {
	if name == "" {
		return p.moved
	}
	return fill(p.movedFor, name, "")
}

func (p phrases) validFor(ttl time.Duration) string {
	one, many, n := p.minute, p.minutes, int(ttl/time.Minute)
	if n == 0 {
		one, many, n = p.second, p.seconds, int(ttl/time.Second)
	}
	switch {
	case n <= 0:
		return ""
	case n == 1:
		return one
	}
	return strings.Replace(many, "{n}", strconv.Itoa(n), 1)
}

func fill(template, name, code string) string {
	return strings.NewReplacer("{app}", name, "{code}", code).Replace(template)
}
