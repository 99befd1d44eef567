package redisstore

import (
	"net"
	"sync"
	"testing"
)

// link is a way to a server that can break.
type link struct {
	address, to string

	mu     sync.Mutex
	wait   *sync.Cond
	broken bool
	silent bool
	conns  []net.Conn
}

func newLink(t testing.TB, to string) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{address: listener.Addr().String(), to: to}
	l.wait = sync.NewCond(&l.mu)
	t.Cleanup(func() {
		_ = listener.Close()
		l.cut()
	})
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go l.carry(conn)
		}
	}()
	return l
}

func (l *link) carry(conn net.Conn) {
	server, err := net.Dial("tcp", l.to)
	if err != nil || !l.admit(conn, server) {
		_ = conn.Close()
		return
	}
	go l.copy(conn, server)
	l.copy(server, conn)
}

func (l *link) admit(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, conns...)
	return !l.broken
}

func (l *link) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	for buffer := make([]byte, 4096); ; {
		n, err := from.Read(buffer)
		l.mu.Lock()
		for l.silent {
			l.wait.Wait()
		}
		l.mu.Unlock()
		if n > 0 {
			_, _ = to.Write(buffer[:n])
		}
		if err != nil {
			return
		}
	}
}

// cut breaks all connections and takes no more.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.conns {
		_ = conn.Close()
	}
	l.broken, l.silent, l.conns = true, false, nil
	l.wait.Broadcast()
}

// hang keeps all connections, and carries nothing any more.
func (l *link) hang() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent = true
}

func (l *link) heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken, l.silent = false, false
	l.wait.Broadcast()
}
