//go:build unix

package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

const seats = 4 // sessions of each user

// idOf is the id of a session by its number, so that nobody must remember ten
// million of them.
func idOf(number int) (id auth.SessionID) {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(number)))
	copy(id[:], sum[:])
	return id
}

// fillStore writes what sign-ins leave, many sessions at a time. Within
// those each kind of record goes in the order of its keys: the store has less to
// rearrange, and the filling takes a fraction of the time.
func fillStore(from, to int) error {
	const chunk = 400_000
	for ; from < to; from += chunk {
		for _, kind := range kinds {
			var writes []auth.Write
			for u := from / seats; u < min(from+chunk, to)/seats; u++ {
				writes = append(writes, kind(u)...)
			}
			slices.SortFunc(writes, func(a, b auth.Write) int { return strings.Compare(a.Key, b.Key) })
			for part := range slices.Chunk(writes, 100*batch) {
				if err := records.Put(context.Background(), part); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// kinds are the records that a user's sign-ins leave.
var kinds = []func(user int) []auth.Write{
	ofEachSession(func(v auth.Session) auth.Write {
		w := record("session/"+v.ID.String(), v)
		w.Expires = v.ExpiresAt.Add(30 * day)
		return w
	}),
	ofEachSession(func(v auth.Session) auth.Write {
		return auth.Write{Key: "touch/" + v.ID.String(), Value: touch(v.CreatedAt), Expires: v.ExpiresAt.Add(30 * day)}
	}),
	ofEachSession(func(v auth.Session) auth.Write {
		w := record(fmt.Sprintf("device/%d/%s", v.UserID, v.DeviceID), auth.Device{
			ID: v.DeviceID, Type: "mobile", Name: "A phone of somebody", Platform: "Android", PlatformVersion: "16", AppVersion: "1.2.3",
			UserID: v.UserID, CreatedAt: v.CreatedAt, UpdatedAt: v.CreatedAt,
		})
		w.Expires = v.CreatedAt.Add(400 * day)
		return w
	}),
	func(user int) []auth.Write {
		u := auth.User{ID: uint64(firstUser + user), Phone: fmt.Sprint("+", firstUser+user), Type: "customer", Roles: []string{"customer"}}
		for seat := range seats {
			v := sessionOf(user, seat)
			u.Sessions = append(u.Sessions, auth.Seat{SessionID: v.ID, DeviceID: v.DeviceID})
			u.CreatedAt, u.SignedIn = v.CreatedAt, v.CreatedAt
		}
		return []auth.Write{record(fmt.Sprint("user/", u.ID), u)}
	},
	func(user int) []auth.Write {
		return []auth.Write{{Key: fmt.Sprint("used/", firstUser+user), Value: touch(time.Now())}}
	},
	func(user int) []auth.Write {
		index := sha256.Sum256(fmt.Append(nil, firstUser+user)) // as long as the keyed one, and in no order either
		return []auth.Write{record("phone/"+base64.RawURLEncoding.EncodeToString(index[:]), map[string]int{"auth_user_id": firstUser + user})}
	},
}

const day = 24 * time.Hour

func ofEachSession(write func(auth.Session) auth.Write) func(user int) []auth.Write {
	return func(user int) (writes []auth.Write) {
		for seat := range seats {
			writes = append(writes, write(sessionOf(user, seat)))
		}
		return writes
	}
}

func sessionOf(user, seat int) auth.Session {
	now := time.Now().UTC().Truncate(time.Millisecond)
	return auth.Session{
		ID: idOf(user*seats + seat), UserID: uint64(firstUser + user), DeviceID: fmt.Sprint("device-of-this-person-", seat),
		CreatedAt: now, AuthTime: now, ExpiresAt: now.Add(30 * day), Generation: 1, RotatedAt: now,
	}
}

// touch is the record of a session's last use, as package auth writes it.
func touch(at time.Time) []byte {
	b := binary.BigEndian.AppendUint64([]byte{1}, uint64(at.UnixMilli()))
	b = binary.BigEndian.AppendUint64(b, uint64(at.UnixMilli()))
	return binary.BigEndian.AppendUint32(b, 0)
}
