//go:build linux

package main

import (
	"crypto/sha1" //nolint:gosec // RFC 6455 asks for it
	"encoding/base64"
	"io"
	"net"
	"net/http"
)

// startUpstream runs the app: it says hello to whoever has an identity, and
// holds a WebSocket for who wants one.
func startUpstream() (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("X-Auth-Session-Id") == "":
			http.Error(w, "no identity", http.StatusInternalServerError)
		case r.Header.Get("Upgrade") != "":
			hold(w, r)
		default:
			_, _ = io.WriteString(w, "hello")
		}
	}))
	return l, nil
}

// hold answers the handshake of RFC 6455 and says nothing until the client goes.
func hold(w http.ResponseWriter, r *http.Request) {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", "websocket")
	w.Header().Set("Sec-WebSocket-Accept", base64.StdEncoding.EncodeToString(sum[:]))
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.Copy(io.Discard, conn)
}
