package redisstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/redis/rueidis"
)

// slots is how many parts the keys of a Cluster fall into.
const slots = 16384

// span is a run of slots, both ends included.
type span struct{ first, last int }

// everything is what a server that is no part of a Cluster holds.
var everything = []span{{0, slots - 1}}

// shard is a server that takes writes, and what it says that it holds.
type shard struct {
	address string
	node    rueidis.Client
	spans   []span
}

// shards finds the servers that take writes. In a Cluster each one is asked for
// itself: what it says of others may be out of date.
func (s *Store) shards(ctx context.Context) ([]shard, error) {
	ctx, cancel := s.bounded(ctx, patience)
	defer cancel()
	nodes := s.client.Nodes()
	answers := make(chan shard, len(nodes))
	for address, node := range nodes {
		go func() {
			spans, _ := s.claims(ctx, address, node) // whoever does not answer holds nothing
			answers <- shard{address, node, spans}
		}()
	}
	var held coverage
	var found []shard
	for range nodes {
		one := <-answers
		if one.spans == nil {
			continue
		}
		found = append(found, one)
		if held.add(one.spans, 1); held.least() > 0 {
			return found, nil // whoever has not answered yet is not waited for
		}
	}
	return nil, fmt.Errorf("%d of %d slots have no primary that answers", held.missing(), slots)
}

// claims asks a server for the slots that it holds as their primary.
func (s *Store) claims(ctx context.Context, address string, node rueidis.CoreClient) (spans []span, err error) {
	if s.client.Mode() != rueidis.ClientModeCluster {
		return everything, nil
	}
	ranges, err := node.Do(ctx, node.B().ClusterSlots().Build()).ToArray()
	if err != nil {
		return nil, err
	}
	for _, r := range ranges {
		if one, ok := own(r, address); ok {
			spans = append(spans, one)
		}
	}
	return spans, nil
}

// own reads one range of CLUSTER SLOTS, if its primary is the server that has
// answered: [first, last, [host, port, …], replicas…].
func own(r rueidis.RedisMessage, address string) (one span, ok bool) {
	fields, err := r.ToArray()
	if err != nil || len(fields) < 3 {
		return one, false
	}
	first, err1 := fields[0].AsInt64()
	last, err2 := fields[1].AsInt64()
	primary, err3 := fields[2].ToArray()
	if errors.Join(err1, err2, err3) != nil || len(primary) < 2 || first < 0 || last >= slots {
		return one, false
	}
	host, _ := primary[0].ToString()
	if host == "" { // it does not know its name: the one that was connected to
		host, _, _ = net.SplitHostPort(address)
	}
	port, err := primary[1].AsInt64()
	return span{int(first), int(last)}, err == nil && net.JoinHostPort(host, strconv.FormatInt(port, 10)) == address
}

// coverage is what is known of each slot; a larger number is better.
type coverage [slots]int64

// add raises the slots of some spans.
func (c *coverage) add(spans []span, to int64) {
	for _, one := range spans {
		for i := one.first; i <= one.last; i++ {
			c[i] = max(c[i], to)
		}
	}
}

// least is the worst of all slots.
func (c *coverage) least() int64 {
	worst := c[0]
	for _, n := range c {
		worst = min(worst, n)
	}
	return worst
}

func (c *coverage) missing() (n int) {
	for _, known := range c {
		if known == 0 {
			n++
		}
	}
	return n
}

// keyAt makes a key that a server of these slots holds: only what stands in
// braces decides on the slot (Redis Cluster specification, "Hash tags").
func keyAt(name string, spans []span) string {
	for i := 0; ; i++ {
		tag := strconv.Itoa(i)
		at := slotOf(tag)
		for _, one := range spans {
			if at >= one.first && at <= one.last {
				return name + "{" + tag + "}"
			}
		}
	}
}

// slotOf is CRC-16/XMODEM, modulo the number of slots.
func slotOf(tag string) int {
	var crc uint16
	for _, b := range []byte(tag) {
		crc ^= uint16(b) << 8
		for range 8 {
			carry := crc & 0x8000
			crc <<= 1
			if carry != 0 {
				crc ^= 0x1021
			}
		}
	}
	return int(crc) % slots
}
