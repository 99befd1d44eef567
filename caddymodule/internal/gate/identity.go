package gate

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"unsafe"
)

// Identify tells the upstream whose request it is. It comes right before the
// next handler, so that whatever goes wrong earlier leaves no identity behind.
// A missing value is an absent header.
func (p *Passage) Identify(r *http.Request) {
	if !p.SignedIn {
		return
	}
	p.setValues()
	for i, name := range p.gate.headers {
		if p.values[i] != "" {
			r.Header[name] = p.values[i : i+1 : i+1]
		}
	}
}

// setValues writes the numbers and the session into the passage's own buffer,
// and cuts the headers out of it: no allocation instead of three.
func (p *Passage) setValues() {
	b := p.buffer[:0]
	if p.Identity.UserID != 0 {
		b = strconv.AppendUint(b, p.Identity.UserID, 10)
	}
	user := len(b)
	b = base64.RawURLEncoding.AppendEncode(b, p.Identity.SessionID[:]) // as SessionID.String
	session := len(b)
	if !p.Identity.AuthTime.IsZero() {
		b = strconv.AppendInt(b, p.Identity.AuthTime.Unix(), 10)
	}
	// Nobody writes to the buffer again, so it may stand in for a string.
	text := unsafe.String(&p.buffer[0], len(b))
	p.values = [...]string{
		userID:    text[:user],
		userType:  clean(p.Identity.Type),
		userRoles: clean(p.Identity.RolesText),
		sessionID: text[user:session],
		deviceID:  clean(p.Identity.DeviceID),
		authTime:  text[session:],
	}
}

// clean drops a value that could end its header line and begin another.
func clean(value string) string {
	for i := range len(value) {
		if c := value[i]; c < ' ' || c == 0x7f {
			return ""
		}
	}
	return value
}
