package auth

import (
	"context"
	"slices"
	"strconv"
	"strings"
)

// UserQuery asks for a part of the users.
type UserQuery struct {
	After  uint64 // the Next of the page before; 0: from the first
	Limit  int    // how many, at least 1
	Banned bool   // those who are banned now
	Role   string // those who have it; empty: all
}

// UserPage is a part of the users, in the store's order.
type UserPage struct {
	Users []User
	Next  uint64 // After for the next page; 0: there is none
}

const (
	listBatch = 500
	// scanMost bounds what one question reads when few users fit it: the page is
	// then short, and the next one goes on.
	scanMost = 10_000
)

// Users lists users. A page may be short, or empty, and have a next one.
func (o Operator) Users(ctx context.Context, q UserQuery) (page UserPage, err error) {
	after := ""
	if q.After > 0 {
		after = userKey(q.After)
	}
	for scanned := 0; scanned < scanMost; { // a multiple of listBatch
		records, err := o.service.list(ctx, "user/", after, listBatch)
		if err != nil {
			return page, err
		}
		for _, r := range records {
			var u User
			if err := decode(r.Value, &u); err != nil {
				return page, err
			}
			scanned, after = scanned+1, r.Key
			page.Next, _ = strconv.ParseUint(strings.TrimPrefix(r.Key, "user/"), 10, 64)
			if !u.Deleted.IsZero() || !o.service.fits(u, q) {
				continue
			}
			if page.Users = append(page.Users, u); len(page.Users) >= q.Limit {
				return page, nil
			}
		}
		if len(records) < listBatch {
			page.Next = 0
			return page, nil
		}
	}
	return page, nil
}

func (s *Service) fits(u User, q UserQuery) bool {
	return (!q.Banned || u.BannedAt(s.now())) && (q.Role == "" || slices.Contains(u.Roles, q.Role))
}

// Walked lists how the keys begin that List is asked for. A store that needs an
// index for it needs none of others.
func Walked() []string { return []string{userPrefix, sessionPrefix, devicePrefix} }

// list reads a page of the records whose keys begin with prefix.
func (s *Service) list(ctx context.Context, prefix, after string, limit int) ([]Listed, error) {
	lister, ok := s.Store.(Lister)
	if !ok {
		return nil, ErrCannotList
	}
	return lister.List(ctx, prefix, after, limit)
}

// User reads one account.
func (o Operator) User(ctx context.Context, id uint64) (User, error) {
	u, exists, err := read[User](ctx, o.service.Store, userKey(id))
	if err == nil && (!exists || !u.Deleted.IsZero()) {
		err = errNoUser
	}
	return u, err
}

var errNoUser = Refuse(CodeNotFound).Because("There is no user with this id.")

// UserOf reads the account of a number.
func (o Operator) UserOf(ctx context.Context, phone string) (User, error) {
	finder, ok := o.service.Directory.(Finder)
	if !ok {
		return User{}, Refuse(CodeInvalidRequest).Because("This directory tells whose a number is at a sign-in only; name the user by id.")
	}
	id, found, err := finder.Find(ctx, phone)
	if err != nil {
		return User{}, err
	}
	if !found {
		return User{}, Refuse(CodeNotFound).Because("No user has this number.")
	}
	return o.User(ctx, id)
}
