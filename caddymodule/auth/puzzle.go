package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// Puzzle is work that a request must show while codes to its number's country
// or block are not brought back. A solution is the challenge, a full stop and
// letters of the client's choice, such that its SHA-256 begins with that many
// zero bits. One person does not feel it; for ten thousand requests it adds up.
type Puzzle struct {
	Challenge string
	Bits      int
}

const (
	puzzleLife  = 5 * time.Minute
	puzzleRetry = time.Minute // for clients that solve none
	leastBits   = 16          // 65 thousand hashes, a tenth of a second of script
	extraBits   = 4           // at the hard stage: a million hashes
	maxNonce    = 20
)

// bitsFor grows with how far a place is over its limit.
func bitsFor(over, n int) int {
	return leastBits + min(extraBits, extraBits*(over-n)/max(1, n*(hardFactor-1)))
}

// puzzle makes one for a number. Nothing is kept of it: a MAC says that it is
// ours, for which number and until when.
func (s *Service) puzzle(phone string, bits int) *Puzzle {
	head := strconv.Itoa(bits) + "." + strconv.FormatInt(s.Now().Add(puzzleLife).Unix(), 10) + "." + newChallengeID()
	return &Puzzle{head + "." + s.Secrets.Index("puzzle", head+"/"+phone), bits}
}

// solved reads a solution; id is unique to its puzzle.
func (s *Service) solved(solution, phone string) (id string, until time.Time, ok bool) {
	parts := strings.Split(solution, ".")
	if len(parts) != 5 || len(parts[4]) > maxNonce || !plausibleChallenge(parts[2]) {
		return "", until, false
	}
	head := strings.Join(parts[:3], ".")
	if subtle.ConstantTimeCompare([]byte(s.Secrets.Index("puzzle", head+"/"+phone)), []byte(parts[3])) != 1 {
		return "", until, false
	}
	need, err := strconv.Atoi(parts[0])
	unix, err2 := strconv.ParseInt(parts[1], 10, 64)
	until = time.Unix(unix, 0)
	if err != nil || err2 != nil || !s.Now().Before(until) || zeroBits(sha256.Sum256([]byte(solution))) < need {
		return "", until, false
	}
	return parts[2], until, true
}

func zeroBits(sum [sha256.Size]byte) (n int) {
	for _, b := range sum {
		n += bits.LeadingZeros8(b)
		if b != 0 {
			break
		}
	}
	return n
}

// spentPuzzle is the record of a solution that was used.
type spentPuzzle struct{}

// redeem takes the attempt's solution, once: the same one buys no second
// message.
func (s *Service) redeem(ctx context.Context, a *attempt) (worked bool, err error) {
	if a.worked {
		return true, nil
	}
	id, until, ok := s.solved(a.Proof, a.Phone)
	if !ok {
		return false, nil
	}
	_, err = update(ctx, s.Store, "puzzle/"+id, func(_ *spentPuzzle, exists bool) (Write, error) {
		ok = !exists
		if exists {
			return Write{}, errUnchanged
		}
		return Write{Expires: until}, nil
	})
	a.worked = ok && err == nil
	return a.worked, err
}
