package admin

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Lock says for whom a backup is encrypted.
type Lock struct {
	Recipient  string `json:"recipient"`
	Passphrase string `json:"passphrase"`
}

// backupMade is what an event says of a backup.
type backupMade struct {
	For string `json:"for"` // the public key
}

// backup answers POST /backup with the file.
func (a *Admin) backup(c *call) (any, error) {
	var l Lock
	if err := c.read(&l); err != nil {
		return nil, err
	}
	if err := a.CheckLock(l); err != nil {
		return nil, invalid(err.Error() + ".")
	}
	c.operator.Tell(auth.Event{Name: auth.EventBackupMade, After: backupMade{cmp.Or(l.Recipient, "a passphrase")}})
	c.lasting()
	c.writer.Header().Set("Content-Type", "application/octet-stream")
	to := &meter{to: c.writer}
	return to.answer(a.Backup(c.Context(), to, l))
}

// lasting takes the endpoint's deadline off a call that takes as long as it
// takes. The endpoint reads for ten seconds, and then cancels the request.
func (c *call) lasting() {
	_ = http.NewResponseController(c.writer).SetReadDeadline(time.Time{}) // a test's recorder has none
}

// meter knows whether an answer has begun.
type meter struct {
	to    io.Writer
	begun bool
}

func (m *meter) Write(p []byte) (int, error) {
	m.begun = true
	return m.to.Write(p)
}

// answer ends a stream. A fault in the middle cuts the connection, so that
// nobody takes a part for the whole.
func (m *meter) answer(err error) (any, error) {
	switch {
	case err == nil:
		return streamed{}, nil
	case m.begun:
		panic(http.ErrAbortHandler)
	}
	return nil, fmt.Errorf("streaming the answer: %w", err)
}
