package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"time"

	"github.com/sidegate/sidegate/caddymodule/auth"
)

const (
	maxLifetime = 5 * time.Minute // of a connection: then one that leads to a standby after a failover is gone
	maxIdleTime = time.Minute
)

// users is the app's table. It implements auth.Directory.
type users struct {
	db      *sql.DB
	query   string
	timeout time.Duration
}

func newUsers(from driver.Connector, query string, timeout time.Duration, maxOpen int) *users {
	db := sql.OpenDB(from)
	db.SetMaxOpenConns(maxOpen)
	db.SetConnMaxLifetime(maxLifetime)
	db.SetConnMaxIdleTime(maxIdleTime)
	return &users{db, query, timeout}
}

// Close closes the connections.
func (u *users) Close() error { return u.db.Close() }

// Resolve implements auth.Directory. No row and a row that says so refuse the
// account; everything else but one account means that the table cannot answer
// now. Errors hold neither the number nor anything of the DSN.
func (u *users) Resolve(ctx context.Context, phone, _ string) (auth.Account, error) {
	ctx, cancel := context.WithTimeout(ctx, u.timeout)
	defer cancel()
	names, rows, err := u.ask(ctx, phone)
	switch {
	case err != nil:
		return auth.Account{}, tellable(ctx, err)
	case !wellNamed(names):
		return auth.Account{}, errors.New("the query must give three columns, id, type and roles, and may give a fourth, named banned")
	case len(rows) == 0:
		return auth.Account{}, auth.Refuse(auth.CodeAccountDisabled)
	case len(rows) > 1:
		return auth.Account{}, errors.New("the query gave more than one row for a number: make numbers unique in the table")
	}
	return account(rows[0])
}

// ask gives the first two rows, which is enough to know that there is more than
// one. It reads in a transaction that is read-only, rather than in a session
// that is: behind a pooler such as PgBouncer the app has the session next.
func (u *users) ask(ctx context.Context, phone string) (names []string, found [][]any, err error) {
	tx, err := u.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, nil, err
	}
	defer tx.Rollback()
	rows, err := tx.QueryContext(ctx, u.query, phone)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	if names, err = rows.Columns(); err != nil {
		return nil, nil, err
	}
	for len(found) < 2 && rows.Next() {
		values, into := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, nil, err
		}
		found = append(found, values)
	}
	return names, found, rows.Err()
}
