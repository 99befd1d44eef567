package web

import (
	"errors"
	"mime"
	"net/http"
	"net/url"
	"unicode/utf8"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// maxForm is how many bytes a form may have.
const maxForm = 16 << 10

// form reads a posted form. A field given twice is refused, because two
// readers could choose differently.
func form(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	lines := r.Header.Values("Content-Type")
	if len(lines) != 1 {
		return nil, auth.Refuse("unsupported_media_type")
	}
	if media, _, err := mime.ParseMediaType(lines[0]); err != nil || media != "application/x-www-form-urlencoded" {
		return nil, auth.Refuse("unsupported_media_type")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	var large *http.MaxBytesError
	if err := r.ParseForm(); errors.As(err, &large) {
		return nil, auth.Refuse("body_too_large")
	} else if err != nil {
		return nil, auth.Refuse(auth.CodeInvalidRequest)
	}
	for _, values := range r.PostForm { // not r.Form: that mixes the query in
		if len(values) != 1 || !utf8.ValidString(values[0]) {
			return nil, auth.Refuse(auth.CodeInvalidRequest)
		}
	}
	return r.PostForm, nil
}
