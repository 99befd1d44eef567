package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/sidegate/sidegate/caddymodule/internal/vault"
)

// KeyCommand is a command that writes the master key, in base64 or hex, to its
// standard output: for keys that a key service keeps. It runs at each start and
// reload, never for `caddy validate`, and has the server's environment.
type KeyCommand struct {
	// The command and its arguments. No shell reads them. Placeholders are
	// allowed in each.
	Command []string `json:"command"`
	// How long it may take, 100ms to 30s; then the start fails. Default: 10s.
	Timeout caddy.Duration `json:"timeout,omitempty"`
}

func (k *KeyCommand) validate() error {
	if len(k.Command) == 0 || k.Command[0] == "" {
		return errors.New("the command is missing; write it as: master_key exec COMMAND ARGUMENT…")
	}
	return checkTimeout(k.Timeout)
}

// readMasterKey reads either of
//
//	master_key KEY
//	master_key exec COMMAND ARGUMENT… {
//		timeout DURATION
//	}
func (a *App) readMasterKey(d *caddyfile.Dispenser) error {
	if d.NextArg() && d.Val() != "exec" {
		d.Prev()
	}
	if d.Val() != "exec" {
		return secretWord(&a.MasterKey)(d)
	}
	c := &KeyCommand{Command: d.RemainingArgs()}
	a.MasterKeyExec = c
	if err := c.validate(); err != nil {
		return d.WrapErr(err)
	}
	return block(d, words{"timeout": timeoutWord(&c.Timeout)})
}

// masterSource is where a configuration has its master key from. It is asked
// anew each time: a file may have been replaced since the last.
type masterSource struct {
	value   string // with its placeholders; empty: none
	command *KeyCommand
	file    string // of ours, for want of the others; empty: there is no place for one
}

// ours reports whether the key stands in a file that we have made.
func (s masterSource) ours() bool { return s.value == "" && s.command == nil && s.file != "" }

// check holds the configuration to what can be known before anything is opened:
// the form of a key that is written there, not what a command would give.
func (s masterSource) check() error {
	if s.command == nil {
		if s.value == "" {
			return nil
		}
		if _, err := s.written(); err != nil {
			return fmt.Errorf("master_key: %w", err)
		}
		return nil
	}
	if s.value != "" {
		return errors.New("master_key and master_key_exec: keep one")
	}
	if err := s.command.validate(); err != nil {
		return fmt.Errorf("master_key_exec: %w", err)
	}
	_, err := s.words()
	return err
}

// written is the key that stands in the configuration, or where its placeholders
// lead.
func (s masterSource) written() ([]byte, error) {
	text, err := caddy.NewReplacer().ReplaceOrErr(s.value, true, true)
	if err != nil {
		return nil, err
	}
	return vault.ParseKey(text)
}

func (s masterSource) words() ([]string, error) {
	words := make([]string, len(s.command.Command))
	for i, word := range s.command.Command {
		var err error
		if words[i], err = resolve(caddy.NewReplacer(), "master_key_exec", word); err != nil {
			return nil, err
		}
	}
	return words, nil
}

// master gets the key. A file of ours is made when it is not there; settled, it
// is sure to have the same key after a power cut.
func (s masterSource) master(ctx context.Context, settled bool) (*vault.Master, error) {
	key, err := s.key(ctx, settled)
	if err != nil {
		return nil, fmt.Errorf("master_key: %w", err)
	}
	return vault.NewMaster(key)
}

func (s masterSource) key(ctx context.Context, settled bool) ([]byte, error) {
	switch {
	case s.command != nil:
		words, err := s.words()
		if err != nil {
			return nil, err
		}
		return vault.Command{Words: words, Timeout: or(s.command.Timeout, 10*time.Second)}.Key(ctx)
	case s.value != "":
		return s.written()
	case s.file == "":
		return nil, errors.New("this store needs a master_key in the sidegate global option, the same on every node")
	case settled:
		return vault.SettledKey(s.file)
	}
	return vault.LoadOrCreateKey(s.file)
}
