package redisstore

import "testing"

// Who moves a store away must know of the others who use it.
func TestOthers(t *testing.T) {
	topologies(t, func(t *testing.T, opt Options) {
		nodes := newNodes(t, 1, opt)
		first := nodes[0].Store.(*Store)
		others := func(want int) {
			t.Helper()
			if n, err := first.Others(t.Context()); n != want || err != nil {
				t.Errorf("heard %d others, want %d: %v", n, want, err)
			}
		}
		others(0)
		opt.Prefix = first.opt.Prefix
		second := newNode(t, opt)
		others(1)
		if err := second.Store.(*Store).Close(); err != nil {
			t.Fatal(err)
		}
		others(0)
		opt.Prefix = freshPrefix() // another store at the same server
		newNode(t, opt)
		others(0)
	})
}
