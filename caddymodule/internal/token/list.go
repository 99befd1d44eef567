package token

import "time"

// Info is what may be known of a signing key.
type Info struct {
	Kid       string
	Algorithm string
	SignFrom  time.Time // zero: from the beginning
	Signs     bool      // new tokens are signed with it
}

// List shows the keys that tokens are accepted of, the newest first.
func (k *Keys) List() []Info {
	r := k.ring.Load()
	signing := r.signing(k.options.Now().Unix())
	list := make([]Info, len(r.keys))
	for i, key := range r.keys {
		list[i] = Info{Kid: key.kid, Algorithm: key.alg, Signs: key == signing}
		if key.signFrom > 0 {
			list[i].SignFrom = time.Unix(key.signFrom, 0).UTC()
		}
	}
	return list
}
