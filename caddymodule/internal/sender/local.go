package sender

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// File appends each message to a file, as one line of JSON: for tests, and for
// programs that follow the file. It is made with mode 0600, since it holds
// codes.
type File struct{ path string }

// NewFile checks the path. The file is made by the first message.
func NewFile(path string) (*File, error) {
	if path == "" {
		return nil, errors.New("sender file needs a path")
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, fmt.Errorf("sender file: %s is a directory, name a file in it", path)
	}
	return &File{path}, nil
}

// Name returns the kind.
func (*File) Name() string { return "file" }

// Send appends the message in one write, which with O_APPEND does not mix with
// those of others. The file is opened anew each time, so it may be rotated.
func (f *File) Send(ctx context.Context, m auth.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	line, err := encode(m)
	if err != nil {
		return fmt.Errorf("encoding the message: %w", err)
	}
	file, err := os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(line, '\n'))
	return errors.Join(err, file.Close())
}

// Log writes each message to the log, at level info. It is the one place where
// codes are logged, and only for development.
type Log struct{ logger *slog.Logger }

// NewLog warns, once, that codes will stand in the log.
func NewLog(logger *slog.Logger) *Log {
	logger.Warn("codes are written to this log: whoever reads it can sign in as anybody; " +
		"configure another sender before real people sign in")
	return &Log{logger}
}

// Name returns the kind.
func (*Log) Name() string { return "log" }

// Send writes the message. It is an error when the log's level hides it, as
// nobody would ever see the code.
func (l *Log) Send(ctx context.Context, m auth.Message) error {
	if !l.logger.Enabled(ctx, slog.LevelInfo) {
		return errors.New("the log's level hides info, and so the code")
	}
	what := "code to send"
	if m.Code == "" {
		what = "notice to send"
	}
	l.logger.LogAttrs(ctx, slog.LevelInfo, what,
		slog.String("id", m.ID), slog.String("to", m.To), slog.String("code", m.Code), slog.String("text", m.Text),
		slog.String("channel", m.Channel), slog.Time("expires_at", m.ExpiresAt.UTC()))
	return nil
}
