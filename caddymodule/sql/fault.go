package sql

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
)

// meanings are the errors that operators meet: SQLSTATE for PostgreSQL
// (www.postgresql.org/docs/current/errcodes-appendix.html), numbers for MySQL
// and MariaDB (mariadb.com/kb/en/mariadb-error-code-reference).
var meanings = map[string]string{
	"28P01": "wrong user or password", "1045": "wrong user or password",
	"28000": "the user may not connect from here", "1130": "this machine may not connect",
	"3D000": "no such database", "1049": "no such database",
	"42501": "the user may not read this", "1044": "the user may not use this database",
	"1142": "the user may not read this table", "1143": "the user may not read this column",
	"42P01": "no such table", "1146": "no such table",
	"42703": "no such column", "1054": "no such column",
	"42601": "the query is no SQL", "1064": "the query is no SQL",
	"25006": "the query writes, which it must not", "1792": "the query writes, which it must not",
	"53300": "too many connections", "1040": "too many connections", "1226": "too many connections of this user",
	"57P01": "it is shutting down", "57P03": "it is starting up or shutting down", "1053": "it is shutting down",
	"57014": "the query took longer than the database allows", "1969": "the query took longer than the database allows",
}

// tellable keeps of an error what may be logged. Messages of a database quote
// values, and those of a driver the DSN.
func tellable(ctx context.Context, err error) error {
	code := codeOf(err)
	dial, isDial := errors.AsType[*net.OpError](err)
	switch {
	case code != "":
		return fmt.Errorf("the database answered error %.5s: %s", code, cmp.Or(meanings[code], "run the query by hand to see more"))
	case ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded):
		return errors.New("the database did not answer in time")
	case isDial && dial.Op == "dial":
		return fmt.Errorf("reaching the database: %w", dial)
	case strings.Contains(err.Error(), "arguments, got 1"):
		return errors.New("the query must have exactly one parameter, the number")
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Errorf("reaching the database: %w", dns)
	}
	if certificate, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("reaching the database: %w", certificate)
	}
	return errors.New("the connection to the database broke, or it has no TLS as the dsn wants it")
}

// codeOf is what the database itself answered; empty when it did not.
func codeOf(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return strconv.Itoa(int(e.Number))
	}
	return ""
}
