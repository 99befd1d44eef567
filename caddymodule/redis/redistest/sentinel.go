package redistest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Master is the name that the Sentinels know their primary by.
const Master = "main"

// Watched is a primary with two replicas, and three Sentinels that watch them.
type Watched struct {
	Servers   []*Server // the primary first
	Sentinels []*Server
}

// StartWatched starts six servers and waits until the Sentinels know all.
func StartWatched(dir string, args ...string) (*Watched, error) {
	w := &Watched{}
	if err := w.start(dir, args); err != nil {
		return w, errors.Join(err, w.Close())
	}
	return w, nil
}

func (w *Watched) start(dir string, args []string) error {
	for i := range 3 {
		own := append([]string{"--repl-diskless-sync-delay", "0"}, args...)
		if i > 0 {
			own = append(own, "--replicaof", "127.0.0.1 "+w.Servers[0].port)
		}
		s, err := Start(dir, own...)
		if err != nil {
			return err
		}
		w.Servers = append(w.Servers, s)
	}
	for _, s := range w.Servers[1:] {
		if err := s.eventually("master_link_status:up", "INFO", "replication"); err != nil {
			return err
		}
	}
	for range 3 {
		s, err := w.startSentinel(dir)
		if err != nil {
			return err
		}
		w.Sentinels = append(w.Sentinels, s)
	}
	for _, s := range w.Sentinels {
		if err := s.eventually("slaves=2,sentinels=3", "INFO", "sentinel"); err != nil {
			return err
		}
	}
	return nil
}

// startSentinel writes the file that a Sentinel insists on: it keeps there what
// it has learnt.
func (w *Watched) startSentinel(dir string) (*Server, error) {
	own, err := os.MkdirTemp(dir, "sentinel")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(own, "sentinel.conf")
	text := fmt.Sprintf("sentinel monitor %s 127.0.0.1 %s 2\nsentinel down-after-milliseconds %s 1000\nsentinel failover-timeout %s 5000\n",
		Master, w.Servers[0].port, Master, Master)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return start(own, []string{file, "--sentinel"})
}

// Addresses are those of the Sentinels.
func (w *Watched) Addresses() (all []string) {
	for _, s := range w.Sentinels {
		all = append(all, s.Address)
	}
	return all
}

// Close kills all servers.
func (w *Watched) Close() error {
	for _, s := range append(w.Sentinels, w.Servers...) {
		s.Kill()
	}
	return nil
}
