package gate

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
)

// errorHeader marks the error answers that are ours. An upstream's is removed,
// so that a client never takes its 401 for one of ours.
const errorHeader = "Sidegate-Error"

// Response is the writer that the next handler gets. It takes out of the
// answer what only we may say, however the header is written: with a body, an
// informational answer, a flush, or the hijack of a connection.
type Response struct {
	http.ResponseWriter
	passage *Passage
	wrote   bool
}

// Response wraps the writer for the next handler. Call Done when that returns.
func (p *Passage) Response(w http.ResponseWriter) *Response {
	p.answer = Response{ResponseWriter: w, passage: p}
	return &p.answer
}

// Done finishes the answer after the next handler: it cleans a header that
// nobody has written yet, and the trailers.
func (p *Passage) Done() {
	if p.answer.ResponseWriter == nil {
		return
	}
	if !p.answer.wrote {
		p.answer.prepare()
		return
	}
	p.gate.cleanAnswer(p.answer.Header())
}

// Unwrap is for http.ResponseController.
func (w *Response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader cleans the header and writes it. Informational answers (103) are
// cleaned too, and do not end the header.
func (w *Response) WriteHeader(status int) {
	if !w.wrote {
		if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
			w.passage.gate.cleanAnswer(w.Header())
		} else {
			w.prepare()
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *Response) Write(b []byte) (int, error) {
	w.begin()
	return w.ResponseWriter.Write(b)
}

// ReadFrom keeps the server's way to send a file without copying it.
func (w *Response) ReadFrom(r io.Reader) (int64, error) {
	w.begin()
	return io.Copy(w.ResponseWriter, r) // uses ReadFrom where there is one
}

// Flush writes what is buffered.
func (w *Response) Flush() { _ = w.FlushError() }

// FlushError is Flush for http.ResponseController.
func (w *Response) FlushError() error {
	w.begin()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack gives the connection away, for a WebSocket. The header has been
// written by then, or is of no use any more.
func (w *Response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !w.wrote {
		w.passage.gate.cleanAnswer(w.Header())
	}
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

func (w *Response) begin() {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
}

// prepare makes the header ready for the final answer.
func (w *Response) prepare() {
	w.wrote = true
	h := w.Header()
	w.passage.gate.cleanAnswer(h)
	if w.passage.cookie == "" {
		return
	}
	h["Set-Cookie"] = append(h["Set-Cookie"], w.passage.cookie)
	// A shared cache may keep an answer together with its Set-Cookie
	// (RFC 9111 §7.3), and would hand this session to everybody.
	if text := strings.ToLower(strings.Join(h["Cache-Control"], ",")); !strings.Contains(text, "no-store") && !isPrivate(text) {
		h["Cache-Control"] = []string{"private, no-cache"}
	}
}

// isPrivate looks for the directive without fields: private="x" guards the
// field x alone.
func isPrivate(cacheControl string) bool {
	for directive := range strings.SplitSeq(cacheControl, ",") {
		if trimSpace(directive) == "private" {
			return true
		}
	}
	return false
}

// cleanAnswer removes what an upstream must not say in our name.
func (g *Gate) cleanAnswer(h http.Header) {
	for name, values := range h {
		rest := strings.TrimPrefix(name, http.TrailerPrefix)
		switch {
		case hasFoldedPrefix(rest, g.prefix), strings.EqualFold(rest, errorHeader):
			delete(h, name)
		case strings.EqualFold(rest, "Set-Cookie"):
			cleanSetCookie(h, name, values)
		}
	}
}

// cleanSetCookie drops the lines that set, or delete, a cookie of ours.
func cleanSetCookie(h http.Header, name string, values []string) {
	kept := values[:0:0]
	for _, line := range values {
		pair, _, _ := strings.Cut(line, ";")
		if !looksOurs(pair) {
			kept = append(kept, line)
		}
	}
	switch len(kept) {
	case len(values):
	case 0:
		delete(h, name)
	default:
		h[name] = kept
	}
}
