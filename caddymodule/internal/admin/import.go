package admin

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// importBatch is how many lines are compared and written at once, and all that
// is in memory of the file.
const importBatch = 2000

// importEnd is the last line of the answer. Without it the import was cut off.
type importEnd struct {
	Done      bool `json:"done"`
	Lines     int  `json:"lines"`
	Created   int  `json:"created"` // in a dry run: would be
	Unchanged int  `json:"unchanged"`
	Conflicts int  `json:"conflicts"`
}

// importUsers answers POST /users/import: a line of JSON for each conflict, while
// the file comes in, and one at the end.
func (a *Admin) importUsers(c *call) (any, error) {
	query, err := c.query("dry_run")
	if err != nil {
		return nil, err
	}
	if query.Has("dry_run") && query.Get("dry_run") != "true" {
		return nil, invalid("dry_run can only be true.")
	}
	media, _, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if err != nil || media != "text/csv" && media != "application/x-ndjson" {
		return nil, auth.Refuse(codeUnsupportedMediaType).Because("Send text/csv or application/x-ndjson.")
	}
	c.lasting()
	from := &lines{from: bufio.NewReaderSize(c.Body, maxLine), phone: a.ParsePhone, now: time.Now().UTC()}
	if media == "text/csv" {
		if err := from.head(); err != nil {
			return nil, err
		}
	}
	imported, err := c.operator.Import(query.Has("dry_run"))
	if err != nil {
		return nil, err
	}
	defer c.operator.TellImport(imported)
	to := c.startLines()
	return to.answer(to.importAll(c, from, imported))
}

// lineWriter answers with lines of JSON.
type lineWriter struct {
	meter
	json  *json.Encoder
	flush func() error
}

// startLines begins an answer while the request still comes in.
func (c *call) startLines() *lineWriter {
	control := http.NewResponseController(c.writer)
	_ = control.EnableFullDuplex() // HTTP/2 is it already
	c.writer.Header().Set("Content-Type", "application/x-ndjson")
	w := &lineWriter{meter: meter{to: c.writer}, flush: control.Flush}
	w.json = json.NewEncoder(&w.meter)
	w.json.SetEscapeHTML(false)
	return w
}

func (w *lineWriter) importAll(c *call, from *lines, to *auth.Import) error {
	end := importEnd{Done: true}
	for whole := false; !whole; {
		batch, err := from.batch()
		if whole = errors.Is(err, io.EOF); err != nil && !whole {
			return err
		}
		conflicts, err := to.Add(c.Context(), batch)
		for _, conflict := range conflicts {
			end.Conflicts++
			if err := w.json.Encode(conflict); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
		w.begun = true // the client reads it while it sends
		if err := w.flush(); err != nil {
			return err
		}
	}
	end.Lines, end.Created, end.Unchanged = to.Lines, to.Created, to.Unchanged
	return w.json.Encode(end)
}

// batch reads the next lines; io.EOF comes with the last ones.
func (l *lines) batch() (batch []auth.Newcomer, err error) {
	for len(batch) < importBatch {
		n, err := l.next()
		if err != nil {
			return batch, err
		}
		batch = append(batch, n)
	}
	return batch, nil
}
