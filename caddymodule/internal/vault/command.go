package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"
)

// Command gives the master key on its standard output, such as one that asks a
// key service. No shell reads it. It has the server's whole environment: that
// is where such commands find who they are.
type Command struct {
	Words   []string // the command and its arguments
	Timeout time.Duration
}

// pipeDelay is for what a child of the command keeps open.
const pipeDelay = time.Second

// Key runs the command. No error shows anything that it has written: on neither
// of its outputs could one tell where a key stands.
func (c Command) Key(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	name := filepath.Base(c.Words[0]) // the arguments may hold secrets
	written := &limited{most: maxKeyFile}
	command := exec.CommandContext(ctx, c.Words[0], c.Words[1:]...)
	command.Stdout = written
	command.WaitDelay = pipeDelay
	killGroup(command)
	err := command.Run()
	switch {
	case ctx.Err() != nil && err != nil:
		return nil, fmt.Errorf("the command %s did not end in %v", name, c.Timeout)
	case errors.Is(err, exec.ErrWaitDelay): // it left a child behind, but ended well
	case err != nil:
		return nil, fmt.Errorf("the command %s gives no key; run it by hand to see why: %w", name, err)
	}
	key, err := ParseKey(written.text.String())
	if err != nil {
		return nil, fmt.Errorf("the command %s wrote no key: %w", name, err)
	}
	return key, nil
}

// limited keeps the beginning of what is written to it. It does not embed the
// text: io.Copy would find the ReadFrom of a bytes.Buffer and go around Write.
type limited struct {
	text bytes.Buffer
	most int
}

// Write takes everything: the command must not wait for a reader.
func (l *limited) Write(p []byte) (int, error) {
	l.text.Write(p[:min(len(p), max(0, l.most-l.text.Len()))])
	return len(p), nil
}
