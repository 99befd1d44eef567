//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
)

// tokens are what a sign-in or a refresh gives.
type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Session string `json:"session_id"`
}

// from is a request that comes from an address of its own, unless one is named.
type from string

func (f from) text() string {
	if f == "" {
		return fmt.Sprintf("10.%d.%d.%d", rand.IntN(256), rand.IntN(256), rand.IntN(256))
	}
	return string(f)
}

// do sends one request. code is what a refusal of Sidegate's carries.
func (n *node) do(ctx context.Context, method, path, token string, body, into any, at ...from) (status int, code string, err error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return 0, "", err
		}
		content = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+n.address+path, content)
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Forwarded-For", append(at, "")[0].text())
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := n.client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && into != nil && resp.StatusCode < 300 {
		err = json.Unmarshal(answer, into)
	}
	return resp.StatusCode, resp.Header.Get("Sidegate-Error"), err
}

// browse sends a proxied request.
func (n *node) browse(ctx context.Context, t tokens) (status int, code string, err error) {
	return n.do(ctx, "GET", "/page", t.Access, nil, nil)
}

// challenge asks for a code.
func (n *node) challenge(ctx context.Context, phone string, at ...from) (id string, err error) {
	var pending struct {
		ID string `json:"challenge_id"`
	}
	status, code, err := n.do(ctx, "POST", "/api/v1/auth/otp", "", map[string]any{"phone": phone}, &pending, at...)
	return pending.ID, refused("otp", http.StatusAccepted, status, code, err)
}

// verify tries a code.
func (n *node) verify(ctx context.Context, id, code, device string) (t tokens, err error) {
	body := map[string]any{"challenge_id": id, "code": code, "device": map[string]string{"device_id": device}}
	status, problem, err := n.do(ctx, "POST", "/api/v1/auth/otp/verify", "", body, &t)
	return t, refused("verify", http.StatusOK, status, problem, err)
}

func (n *node) signIn(ctx context.Context, phone, device string) (tokens, error) {
	id, err := n.challenge(ctx, phone)
	if err != nil {
		return tokens{}, err
	}
	return n.verify(ctx, id, testCode, device)
}

func (n *node) refresh(ctx context.Context, t tokens) (next tokens, err error) {
	status, code, err := n.do(ctx, "POST", "/api/v1/auth/refresh", "", map[string]string{"refresh_token": t.Refresh}, &next)
	return next, refused("refresh", http.StatusOK, status, code, err)
}

func (n *node) logout(ctx context.Context, t tokens) error {
	status, code, err := n.do(ctx, "POST", "/api/v1/auth/logout", t.Access, map[string]string{}, nil)
	return refused("logout", http.StatusNoContent, status, code, err)
}

// refusal is an answer that was not the wanted one.
type refusal struct {
	what   string
	status int
	code   string
}

func (r refusal) Error() string { return fmt.Sprintf("%s: %d %s", r.what, r.status, r.code) }

func refused(what string, want, status int, code string, err error) error {
	if err == nil && status != want {
		err = refusal{what, status, code}
	}
	return err
}
