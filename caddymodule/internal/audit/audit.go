// Package audit makes the lines that tell afterwards what happened, and finds
// out whether any was changed, moved or taken away since.
//
// Each line holds the hash of the one before it, so lines can be shown to be
// whole and in order by whoever has them, without a key. What a chain cannot
// show by itself is that its end was cut off: for that the head, kept
// elsewhere, is compared with the last line.
package audit

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// Entry is one line. Fields that are empty are left out.
type Entry struct {
	At    time.Time `json:"at"`
	Event string    `json:"event"` // OWASP's word for it, and whose: authn_login_success:42
	Name  string    `json:"name"`  // ours, as in the events
	Cause string    `json:"cause,omitempty"`

	UserID    uint64 `json:"user_id,omitempty"`
	SessionID string `json:"session_id,omitempty"`
	DeviceID  string `json:"device_id,omitempty"`
	Subject   string `json:"subject,omitempty"` // stands for a phone number
	Country   string `json:"country,omitempty"`
	Channel   string `json:"channel,omitempty"`
	ClientIP  string `json:"client_ip,omitempty"`

	By     string `json:"by,omitempty"` // the operator who did it
	Before any    `json:"before,omitempty"`
	After  any    `json:"after,omitempty"`

	Chain string `json:"chain"` // of one process
	N     uint64 `json:"n"`     // counts from 1 in each chain
	Prev  string `json:"prev"`  // the hash of line N-1; of the first line: of the chain before it
}

// Head is how far a chain has come.
type Head struct {
	Chain string `json:"chain"`
	N     uint64 `json:"n"`
	Hash  string `json:"hash"`
}

// Chain makes the lines of one process. It is safe for concurrent use.
type Chain struct {
	mu   sync.Mutex
	head Head
}

// NewChain begins a chain. The first line names the head of the one before it,
// so that what was written until then cannot be taken away unnoticed; the zero
// Head is for the very first chain.
func NewChain(before Head) *Chain {
	return &Chain{head: Head{Chain: rand.Text(), Hash: before.Hash}}
}

// Head is the last line's.
func (c *Chain) Head() Head {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.head
}

// Append gives an event its place and hands the line to write, one at a time:
// they must stand in the log in the order of the chain. An event that the audit
// does not keep is no line.
func (c *Chain) Append(e auth.Event, write func(line json.RawMessage, hash string)) error {
	word, kept := words[e.Name]
	if !kept {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	entry := entryOf(e, word)
	entry.Chain, entry.N, entry.Prev = c.head.Chain, c.head.N+1, c.head.Hash
	line, err := json.Marshal(entry)
	if err != nil {
		return fmt.Errorf("encoding an audit line: %w", err)
	}
	c.head = Head{Chain: entry.Chain, N: entry.N, Hash: hashOf(line)}
	write(line, c.head.Hash)
	return nil
}

func entryOf(e auth.Event, word string) Entry {
	entry := Entry{
		At: e.At.UTC(), Event: word, Name: string(e.Name), Cause: e.Cause, UserID: e.UserID, DeviceID: e.DeviceID,
		Subject: e.Subject, Country: e.Country, Channel: e.Channel, ClientIP: e.ClientIP,
		By: e.By, Before: e.Before, After: e.After,
	}
	if e.UserID != 0 {
		entry.Event = fmt.Sprintf("%s:%d", word, e.UserID)
	}
	if e.SessionID != (auth.SessionID{}) {
		entry.SessionID = e.SessionID.String()
	}
	return entry
}

func hashOf(line []byte) string {
	sum := sha256.Sum256(line)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// words are OWASP's, from its Logging Vocabulary Cheat Sheet. What is not in
// here is for the metrics: it says nothing about security, or comes with every
// refresh.
var words = map[auth.EventName]string{
	auth.EventSendBlocked:    "excess_rate_limit_exceeded",
	auth.EventBudgetUsed:     "excess_rate_limit_exceeded",
	auth.EventCodeWrong:      "authn_login_fail",
	auth.EventVerifyBlocked:  "authn_login_fail_max",
	auth.EventSignInRefused:  "authn_login_lock",
	auth.EventUserCreated:    "user_created",
	auth.EventPhoneChanged:   "authn_phone_change",
	auth.EventNewDevice:      "authn_login_new_device",
	auth.EventSessionStarted: "authn_login_success",
	auth.EventSessionEnded:   "authn_token_revoked",
	auth.EventTokenReused:    "authn_token_reuse",
	auth.EventTokenRefused:   "session_use_after_expire",

	// Acts of operators.
	auth.EventUserChanged:     "authz_change",
	auth.EventUserBanned:      "authz_admin",
	auth.EventUserUnbanned:    "authz_admin",
	auth.EventUserReopened:    "authz_admin",
	auth.EventUserUnlocked:    "authz_admin",
	auth.EventUserDeleted:     "user_deleted",
	auth.EventSessionsRevoked: "authn_token_revoked",
	auth.EventDeviceDeleted:   "authz_admin",
	auth.EventBlockAdded:      "authz_admin",
	auth.EventBlockRemoved:    "authz_admin",
	auth.EventKeysRotated:     "authz_admin",
	auth.EventUsersImported:   "user_created",
	auth.EventUserExported:    "sensitive_read",
	auth.EventUsersExported:   "sensitive_read",
	auth.EventBackupMade:      "sensitive_read",

	auth.EventMasterKeyAdded:    "authz_admin",
	auth.EventMasterKeysRetired: "authz_admin",
	auth.EventStoreMoveStarted:  "authz_admin",
	auth.EventStoreMoveEnded:    "authz_admin",
	auth.EventStoreMoved:        "authz_admin",
}
