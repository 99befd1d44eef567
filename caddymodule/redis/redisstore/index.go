package redisstore

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

// The kinds that are walked have an index: sorted sets of equal scores, which
// Redis keeps in the order of their members' bytes. A record and the set that
// tells of it lie on two servers of a Cluster, so no write changes both. Whoever
// is about to make or delete a record therefore first leaves a mark in the set,
// which says "look here", and takes it away when the member is right: at every
// moment, and after a crash at any, whatever exists has its member or a mark.
// A write of what exists already changes no set.

const (
	// indexSets is how many sets a kind falls into. With a hundred million
	// records they are as large as a thousand servers need, and small enough to
	// be moved. List finds nothing that was written under another number.
	indexSets = 1024
	// groupSize is how much of a hidden name those begin alike with whose keys
	// begin with the same two segments: 132 of the 136 bits that vault.Branch
	// gives them, in base64. It is a whole session id, and more than a user's.
	groupSize = 22
	// A mark is the member, markSign, and markSize bytes: when it was left, in
	// milliseconds, and a random number. No name has a byte as low as the sign,
	// so marks stand right behind their member.
	markSign = "\x00"
	markPast = "\x01"
	markSize = 16
	// markLife is after when nobody comes back to a mark: much longer than a
	// call of the store takes.
	markLife = 10 * time.Minute
)

// entry is the place of a record in an index. The zero entry is none.
type entry struct{ set, member, mark string }

// indexed gives the kind of a key that is walked.
func indexed(key string) (kind string, ok bool) {
	kind, _, ok = strings.Cut(key, "/")
	return kind, ok && slices.Contains(auth.Walked(), kind+"/")
}

// entryOf gives the place of the record that Redis has under a name, with a mark
// of its own.
func (s *Store) entryOf(name string) (e entry, ok bool) {
	key := strings.TrimPrefix(name, s.opt.Prefix)
	kind, ok := indexed(key)
	if !ok {
		return e, false
	}
	member := key[len(kind)+1:]
	var mark [markSize]byte
	binary.BigEndian.PutUint64(mark[:], uint64(s.opt.Now().UnixMilli()))
	rand.Read(mark[8:]) // never fails
	return entry{s.indexSet(kind, setOf(member)), member, member + markSign + string(mark[:])}, true
}

func (s *Store) indexSet(kind string, n int) string {
	return s.opt.Prefix + indexKeys + kind + "/" + strconv.Itoa(n)
}

// setOf is the number of the set of a member.
func setOf(member string) int { return slotOf(member[:min(len(member), groupSize)]) % indexSets }

const indexBody = `
if ARGV[1] ~= '' then redis.call('ZADD', KEYS[1], 0, ARGV[1]) end
if ARGV[2] ~= '' then redis.call('ZREM', KEYS[1], ARGV[2]) end
return 1
`

var (
	indexScript = newScript("#!lua" + indexBody)
	// indexEndScript is for what takes access away, and for what makes good.
	indexEndScript = newScript("#!lua flags=allow-oom" + indexBody)
)

// announce is the call that leaves a mark, before a record is made or deleted.
// Only a Cluster's servers can lose the mark and keep the record: elsewhere who
// waits for the record waits for the mark.
func (s *Store) announce(e entry, deletes, ending bool) call {
	c := call{script: indexScript, key: e.set, args: []string{e.mark, ""}, alone: s.client.Mode() != rueidis.ClientModeCluster}
	if deletes {
		c.args[1] = e.member
	}
	if deletes || ending {
		c.script = indexEndScript
	}
	return c
}

// settle is the call that takes a mark away. exists: the record may be there.
func (e entry) settle(exists bool) call {
	c := call{script: indexEndScript, key: e.set, args: []string{"", e.mark}, alone: true}
	if exists {
		c.args[0] = e.member
	}
	return c
}

// indexing carries write out, which makes or deletes the record under a name and
// reports whether it may exist now. After an error nobody knows, and the mark
// stays. It does so too when it cannot be taken away, which harms nothing.
func (s *Store) indexing(ctx context.Context, name string, deletes, ending bool, write func() (exists bool, err error)) error {
	e, ok := s.entryOf(name)
	if !ok {
		_, err := write()
		return err
	}
	if _, err := s.eval(ctx, s.announce(e, deletes, ending)); err != nil {
		return err
	}
	exists, err := write()
	if err == nil {
		_, _ = s.eval(ctx, e.settle(exists))
	}
	return err
}

// indexingAll is indexing for many writes that always succeed, without replicas.
func (s *Store) indexingAll(ctx context.Context, writes []auth.Write, deletes func(auth.Write) bool, write func() error) error {
	var before, after []call
	for _, w := range writes {
		if _, ok := indexed(w.Key); !ok {
			continue
		}
		e, _ := s.entryOf(s.stored(w.Key))
		before, after = append(before, s.announce(e, deletes(w), w.Ending)), append(after, e.settle(!deletes(w)))
	}
	if err := s.evalAll(ctx, before); err != nil {
		return err
	}
	err := write()
	if err == nil {
		_ = s.evalAll(ctx, after)
	}
	return err
}

// mayIndex refuses a user of Redis who may not do what the index needs: the first
// sign-in would tell otherwise. Any other fault is not its business.
func (s *Store) mayIndex(ctx context.Context) error {
	e, _ := s.entryOf(s.opt.Prefix + "user/")
	ctx, cancel := s.bounded(ctx, callTimeout)
	defer cancel()
	_, err1 := s.eval(ctx, s.announce(e, false, true))
	_, err2 := s.eval(ctx, e.settle(false))
	err3 := s.client.Do(ctx, s.client.B().Zrangebylex().Key(e.set).Min("-").Max("+").Limit(0, 1).Build().Pin()).Error()
	for _, err := range []error{err1, err2, err3} {
		// As a command is refused, and a script by Redis 7.0 and by later ones.
		if refused, ok := refusalOf(err); ok && (strings.Contains(refused.Error(), "permissions to run") || strings.Contains(refused.Error(), "can't run this command")) {
			return refusal("its user lacks one of +zadd +zrem +zrangebylex, which the index needs: " + refused.Error())
		}
	}
	return nil
}

// evalAll runs scripts side by side, without replicas.
func (s *Store) evalAll(ctx context.Context, calls []call) error {
	for _, known := range []bool{true, false} {
		if len(calls) == 0 {
			return nil
		}
		commands := make([]rueidis.Completed, len(calls))
		for i, c := range calls {
			commands[i] = s.command(c, known)
		}
		var again []call
		for i, result := range s.client.DoMulti(ctx, commands...) {
			err := result.Error()
			if refusal, ok := refusalOf(err); known && ok && refusal.IsNoScript() {
				again = append(again, calls[i])
			} else if err != nil {
				return err
			}
		}
		calls = again
	}
	return nil
}
