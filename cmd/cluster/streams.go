//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// streams opens WebSockets on one node and ends their sessions on another. One
// that belongs to nobody who leaves must stay open all the time.
func streams(ctx context.Context, h *house, s settings) ([]claim, error) {
	stays, err := h.nodes[0].signIn(ctx, phone(people-3), "phone")
	if err != nil {
		return nil, err
	}
	bystander, err := h.nodes[1].open(stays)
	if err != nil {
		return nil, err
	}
	defer bystander.Close()
	var took []time.Duration
	for i := range s.streams {
		near, others := h.around(i)
		t, err := near.signIn(ctx, phone(i), "phone")
		if err != nil {
			return nil, err
		}
		socket, err := others[0].open(t)
		if err != nil {
			return nil, err
		}
		if err := near.logout(ctx, t); err != nil {
			return nil, err
		}
		over := time.Now()
		code, err := socket.wait(10 * time.Second)
		took = append(took, time.Since(over))
		_ = socket.Close()
		if err != nil || code != 4401 {
			return nil, fmt.Errorf("node %s closed a WebSocket with %d, want 4401: %w", others[0].name, code, err)
		}
	}
	_, err = bystander.wait(100 * time.Millisecond)
	open := errors.Is(err, context.DeadlineExceeded)
	return []claim{
		{"a WebSocket on one node is cut after its session's end on another: within 1 s", spread(took), at(took, 1) <= time.Second},
		{"the WebSocket of somebody else stays open", fmt.Sprint(open), open},
	}, nil
}

// socket is a WebSocket, as far as its end is concerned.
type socket struct {
	net.Conn
	reader *bufio.Reader
}

func (n *node) open(t tokens) (*socket, error) {
	conn, err := net.Dial("tcp", n.address)
	if err != nil {
		return nil, err
	}
	s := &socket{conn, bufio.NewReader(conn)}
	_, err = fmt.Fprintf(conn, "GET /socket HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer %s\r\n\r\n", n.address, t.Access)
	if err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(s.reader, nil)
	if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
		err = refusal{"websocket", resp.StatusCode, resp.Header.Get("Sidegate-Error")}
	}
	return s, err
}

// wait reads the close frame, which is short and all that this upstream lets
// through, and gives its code.
func (s *socket) wait(limit time.Duration) (code int, err error) {
	if err := s.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return 0, err
	}
	var frame [4]byte // FIN and opcode, length, code
	if _, err := io.ReadFull(s.reader, frame[:]); err != nil {
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			err = context.DeadlineExceeded
		}
		return 0, err
	}
	return int(binary.BigEndian.Uint16(frame[2:])), nil
}
