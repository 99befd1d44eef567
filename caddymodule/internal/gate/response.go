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
// informational answer, a flush, or the hijack of a connection. Once the
// passage is cut nothing more goes through it.
type Response struct {
	http.ResponseWriter
	passage  *Passage
	wrote    bool
	switched bool // to the protocol of a WebSocket
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
	w.switched = w.switched || status == http.StatusSwitchingProtocols
	w.ResponseWriter.WriteHeader(status)
}

func (w *Response) Write(b []byte) (int, error) {
	if w.passage.isCut() {
		return 0, errCut
	}
	w.begin()
	return w.ResponseWriter.Write(b)
}

// fileChunk is how much is copied between two looks whether the passage is cut.
const fileChunk = 256 << 10

// ReadFrom keeps the server's own way to copy a file.
func (w *Response) ReadFrom(r io.Reader) (total int64, err error) {
	w.begin()
	for !w.passage.isCut() {
		n, err := io.CopyN(w.ResponseWriter, r, fileChunk) // uses ReadFrom where there is one
		total += n
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
	return total, errCut
}

// Flush writes what is buffered.
func (w *Response) Flush() { _ = w.FlushError() }

// FlushError is Flush for http.ResponseController.
func (w *Response) FlushError() error {
	if w.passage.isCut() {
		return errCut
	}
	w.begin()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack gives the connection away, for a WebSocket. The header has been
// written by then, or is of no use any more.
func (w *Response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !w.wrote {
		w.passage.gate.cleanAnswer(w.Header())
	}
	conn, buffer, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil || !w.passage.trip.underWay() {
		return conn, buffer, err
	}
	return w.passage.dig(conn, buffer, w.switched), buffer, nil
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
	for name := range h {
		if overCacheControl(name) {
			delete(h, name)
		}
	}
}

// overCacheControl reports the fields that shared caches take for more than
// Cache-Control (RFC 9213, and those before it).
func overCacheControl(name string) bool {
	name = strings.ToLower(name)
	return strings.HasSuffix(name, "cdn-cache-control") || name == "surrogate-control" || name == "x-accel-expires"
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
