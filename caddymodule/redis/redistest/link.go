package redistest

import (
	"net"
	"sync"
)

// Link is a way to a server that can break.
type Link struct {
	Address  string
	to       string
	listener net.Listener

	mu     sync.Mutex
	wait   *sync.Cond
	broken bool
	silent bool
	conns  []net.Conn
}

// NewLink listens at an address for what goes to another.
func NewLink(address, to string) (*Link, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	l := &Link{Address: listener.Addr().String(), to: to, listener: listener}
	l.wait = sync.NewCond(&l.mu)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go l.carry(conn)
		}
	}()
	return l, nil
}

// Close ends the link and what goes over it.
func (l *Link) Close() error {
	l.Cut()
	return l.listener.Close()
}

func (l *Link) carry(conn net.Conn) {
	server, err := net.Dial("tcp", l.to)
	if err != nil || !l.admit(conn, server) {
		_ = conn.Close()
		return
	}
	go l.copy(conn, server)
	l.copy(server, conn)
}

func (l *Link) admit(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, conns...)
	return !l.broken
}

func (l *Link) copy(to, from net.Conn) {
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

// Cut breaks all connections and takes no more.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.conns {
		_ = conn.Close()
	}
	l.broken, l.silent, l.conns = true, false, nil
	l.wait.Broadcast()
}

// Hang keeps all connections, and carries nothing any more.
func (l *Link) Hang() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent = true
}

// Heal lets everything through again.
func (l *Link) Heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken, l.silent = false, false
	l.wait.Broadcast()
}
