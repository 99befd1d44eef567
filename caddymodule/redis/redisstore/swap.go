package redisstore

import (
	"context"
	"crypto/sha1" //nolint:gosec // the name that Redis has for a script
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// swapBody compares and writes. KEYS: the record's. ARGV: the expected version,
// the time by which a record has expired, what to store (nothing: delete), how
// long Redis is to keep it (0: for ever).
const swapBody = `
local version, head = '', redis.call('GETRANGE', KEYS[1], 0, 15)
if head ~= '' then
	local expires = struct.unpack('>I8', head, 9)
	if expires == 0 or expires > tonumber(ARGV[2]) then version = string.sub(head, 1, 8) end
end
if version ~= ARGV[1] then return 0 end
if ARGV[3] == '' then
	redis.call('DEL', KEYS[1])
elseif ARGV[4] == '0' then
	redis.call('SET', KEYS[1], ARGV[3])
else
	redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
end
return 1
`

// A script is known to a server by its hash, once that has seen it.
type script struct{ body, hash string }

func newScript(body string) script {
	sum := sha1.Sum([]byte(body))
	return script{body, hex.EncodeToString(sum[:])}
}

var (
	swapScript = newScript("#!lua" + swapBody)
	// endScript is for what takes access away: it writes also above maxmemory.
	endScript = newScript("#!lua flags=allow-oom" + swapBody)
)

// Swap implements auth.Store. What it returns has reached as many replicas as
// the options say.
func (s *Store) Swap(ctx context.Context, expected auth.Version, w auth.Write) (auth.Version, error) {
	if err := accept(ctx, w); err != nil {
		return 0, err
	}
	ctx, cancel := s.bounded(ctx, callTimeout+s.opt.ReplicaTimeout)
	defer cancel()
	at, err := s.places(ctx, w)
	if err != nil {
		return 0, unavailable("writing", err)
	}
	v, err := s.swap(ctx, expected, w, at[w.Owner])
	if expected != 0 || !errors.Is(err, auth.ErrConflict) {
		return v, err
	}
	// What is in the way may be an erased owner's, which reading discards.
	if r, failed := s.Get(ctx, w.Key); failed != nil || r[0].Version != 0 {
		return 0, errors.Join(err, failed)
	}
	return s.swap(ctx, expected, w, at[w.Owner])
}

func (s *Store) swap(ctx context.Context, expected auth.Version, w auth.Write, at place) (auth.Version, error) {
	v, run := newVersion(), swapScript
	value := s.wrap(w, v, at)
	if w.Ending || value == "" {
		run = endScript
	}
	name, swapped := s.stored(w.Key), false
	write := func() (exists bool, err error) {
		swapped, err = s.eval(ctx, call{script: run, key: name, args: []string{
			versionText(expected), s.nowText(), value, strconv.FormatInt(s.left(w), 10),
		}})
		return value != "" || !swapped, err
	}
	var err error
	if expected == 0 || value == "" {
		err = s.indexing(ctx, name, value == "", w.Ending, write)
	} else {
		_, err = write()
	}
	switch {
	case err != nil:
		return 0, unavailable("writing", err)
	case !swapped:
		return 0, fmt.Errorf("%w: another version", auth.ErrConflict)
	case w.Value == nil:
		return 0, nil
	}
	return v, nil
}

func (s *Store) nowText() string { return strconv.FormatInt(s.opt.Now().UnixMilli(), 10) }

// call is one run of a script on one key.
type call struct {
	script script
	key    string
	args   []string
	alone  bool // no replica is waited for
}

// eval runs a script, and waits for the replicas. It reports whether the script
// has written.
func (s *Store) eval(ctx context.Context, c call) (bool, error) {
	for _, known := range []bool{true, false} {
		answer, err := s.try(ctx, c, known)
		if refusal, ok := refusalOf(err); known && ok && refusal.IsNoScript() {
			continue // a server that has not seen it, or was restarted
		}
		return answer == 1, err
	}
	return false, nil
}

func (s *Store) try(ctx context.Context, c call, known bool) (int64, error) {
	if s.replicas == 0 || c.alone {
		return s.client.Do(ctx, s.command(c, known)).AsInt64()
	}
	return s.confirmed(ctx, c, known)
}

func (s *Store) command(c call, known bool) rueidis.Completed {
	if known {
		return s.client.B().Evalsha().Sha1(c.script.hash).Numkeys(1).Key(c.key).Arg(c.args...).Build()
	}
	return s.client.B().Eval().Script(c.script.body).Numkeys(1).Key(c.key).Arg(c.args...).Build()
}
