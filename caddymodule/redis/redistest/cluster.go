package redistest

import (
	"errors"
	"slices"
	"strconv"
	"strings"
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
