package auth

import (
	"crypto/subtle"
	"strconv"
	"strings"
	"time"
)

// DeviceProofLife is how long after a sign-in its browser is known.
const DeviceProofLife = 400 * 24 * time.Hour

// ofKnown marks what known browsers share among them: one budget for all those
// of a number, since each further one would else bring more of it.
const ofKnown = "/known"

const proofDay = 24 * time.Hour

// deviceProof shows that a browser has signed in on a number, and on which day.
// It opens nothing: all it gives is a budget that strangers cannot use up.
func (s *Service) deviceProof(phone string) string {
	return s.proofOf(phone, strconv.FormatInt(s.Now().UnixMilli()/proofDay.Milliseconds(), 10))
}

func (s *Service) proofOf(phone, day string) string {
	return day + "." + s.Secrets.Index("device_proof", day+"/"+phone)
}

// knows reports whether a proof is one of this number, and not too old.
func (s *Service) knows(proof, phone string) bool {
	_, known := s.knownOn(proof, phone)
	return known
}

// knownOn gives the day of the sign-in that a proof shows.
func (s *Service) knownOn(proof, phone string) (day time.Time, known bool) {
	text, _, ok := strings.Cut(proof, ".")
	n, err := strconv.ParseInt(text, 10, 32)
	day = time.UnixMilli(n * proofDay.Milliseconds())
	if !ok || err != nil || s.Now().Sub(day) >= DeviceProofLife {
		return day, false
	}
	return day, subtle.ConstantTimeCompare([]byte(s.proofOf(phone, text)), []byte(proof)) == 1
}
