package redistest

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Cluster is three primaries with a replica each.
type Cluster struct {
	Servers []*Server // the primaries first, then the replica of each
}

const primaries = 3

// StartCluster starts six servers and waits until all agree.
func StartCluster(dir string, args ...string) (*Cluster, error) {
	c := &Cluster{}
	for range 2 * primaries {
		bus, err := freePort()
		if err != nil {
			return c, err
		}
		s, err := Start(dir, append([]string{
			"--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "1000",
			"--repl-diskless-sync-delay", "0",
		}, args...)...)
		if err != nil {
			return c, errors.Join(err, c.Close())
		}
		c.Servers = append(c.Servers, s)
	}
	if err := c.join(); err != nil {
		return c, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cluster) join() error {
	first := c.Servers[0]
	var errs []error
	do := func(s *Server, args ...string) string {
		answer, err := s.Do(args...)
		errs = append(errs, err)
		return answer
	}
	for i, s := range c.Servers[:primaries] {
		do(s, "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		do(s, "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*16384/primaries), strconv.Itoa((i+1)*16384/primaries-1))
	}
	for _, s := range c.Servers[1:] {
		bus := s.args[slices.Index(s.args, "--cluster-port")+1]
		do(first, "CLUSTER", "MEET", "127.0.0.1", s.port, bus)
	}
	for _, s := range c.Servers {
		errs = append(errs, s.eventually("cluster_known_nodes:6", "CLUSTER", "INFO"))
	}
	for i, s := range c.Servers[primaries:] {
		do(s, "CLUSTER", "REPLICATE", strings.TrimSpace(do(c.Servers[i], "CLUSTER", "MYID")))
	}
	for i, s := range c.Servers {
		errs = append(errs, s.eventually("cluster_state:ok", "CLUSTER", "INFO"))
		if i >= primaries {
			errs = append(errs, s.eventually("master_link_status:up", "INFO", "replication"))
		} else {
			errs = append(errs, s.eventually("state=online", "INFO", "replication"))
		}
	}
	return errors.Join(errs...)
}

// Move gives a slot of one primary to another, with its keys, and takes its time
// over it: in between, keys of the slot are at either.
func (c *Cluster) Move(slot, from, to int, takes time.Duration) error {
	source, target, name := c.Servers[from], c.Servers[to], strconv.Itoa(slot)
	var errs []error
	do := func(s *Server, args ...string) string {
		answer, err := s.Do(args...)
		errs = append(errs, err)
		return strings.TrimSpace(answer)
	}
	sourceID, targetID := do(source, "CLUSTER", "MYID"), do(target, "CLUSTER", "MYID")
	do(target, "CLUSTER", "SETSLOT", name, "IMPORTING", sourceID)
	do(source, "CLUSTER", "SETSLOT", name, "MIGRATING", targetID)
	time.Sleep(takes)
	for {
		keys := strings.Fields(strings.Trim(do(source, "CLUSTER", "GETKEYSINSLOT", name, "10"), "[]"))
		if len(keys) == 0 || errors.Join(errs...) != nil {
			break
		}
		do(source, append([]string{"MIGRATE", "127.0.0.1", target.port, "", "0", "5000", "KEYS"}, keys...)...)
	}
	time.Sleep(takes)
	for _, s := range c.Servers[:primaries] {
		do(s, "CLUSTER", "SETSLOT", name, "NODE", targetID)
	}
	return errors.Join(errs...)
}

// Addresses are those of all servers.
func (c *Cluster) Addresses() (all []string) {
	for _, s := range c.Servers {
		all = append(all, s.Address)
	}
	return all
}

// Close kills all servers.
func (c *Cluster) Close() error {
	for _, s := range c.Servers {
		s.Kill()
	}
	return nil
}
