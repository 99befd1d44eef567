package sql

import (
	"context"
	"crypto/tls"
	"database/sql/driver"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// engine is what differs between databases.
type engine struct {
	parameter string // stands for the number in a query
	example   string // of a DSN
	remedy    string // makes a connection one that nobody can answer on
	read      func(dsn string, timeout time.Duration) (source, error)
}

var engines = map[string]engine{
	"postgres": {"$1", "postgres://sidegate:PASSWORD@db.internal/app?sslmode=verify-full", "sslmode=verify-full", readPostgres},
	"mysql":    {"?", "sidegate:PASSWORD@tcp(db.internal:3306)/app?tls=true", "tls=true", readMySQL},
}

// source is where connections come from.
type source struct {
	connector driver.Connector
	exposed   bool // whoever is on the way can answer in the database's place
}

func readPostgres(dsn string, _ time.Duration) (source, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return source{}, err
	}
	// The database says each time of what type the number and the columns are.
	// So nothing is kept between questions: tables may change, and PgBouncer may
	// stand in between.
	config.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec
	exposed := isExposed(config.Host, config.TLSConfig)
	for _, other := range config.Fallbacks { // also sslmode=prefer, which goes on without TLS
		exposed = exposed || isExposed(other.Host, other.TLSConfig)
	}
	// One more round trip, so that no sign-in fails on a kept connection that a
	// restart has broken. MySQL's driver looks by itself.
	ping := stdlib.OptionShouldPing(func(context.Context, stdlib.ShouldPingParams) bool { return true })
	return source{stdlib.GetConnector(*config, ping), exposed}, nil
}

func readMySQL(dsn string, timeout time.Duration) (source, error) {
	config, err := mysql.ParseDSN(dsn)
	if err != nil {
		return source{}, err
	}
	// A DSN must not turn the parameter into text, nor read files for the server.
	config.InterpolateParams, config.MultiStatements, config.AllowAllFiles = false, false, false
	// The context ends a question; the driver's ROLLBACK knows none.
	config.ReadTimeout, config.WriteTimeout = timeout+time.Second, timeout+time.Second
	config.Logger = new(mysql.NopLogger) // in place of stderr; what matters comes back as an error
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return source{}, err
	}
	host, _, err := net.SplitHostPort(config.Addr)
	if err != nil {
		host = config.Addr // the path of a socket
	}
	return source{connector, config.AllowFallbackToPlaintext && !isNear(host) || isExposed(host, config.TLS)}, nil
}

// isExposed reports whether a connection leads off this machine without TLS that
// proves whom it leads to.
func isExposed(host string, config *tls.Config) bool {
	proved := config != nil && (!config.InsecureSkipVerify || config.VerifyPeerCertificate != nil)
	return !isNear(host) && !proved
}

func isNear(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || err == nil && ip.IsLoopback()
}

// missingFile names the file that a DSN refers to in vain, such as that of
// sslrootcert. The rest of the error may quote a password.
func missingFile(err error) string {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return " (" + path.Error() + ")"
	}
	return ""
}
