package sql_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/sidegate/sidegate/caddymodule/sql"
)

// The tables, the grants and the query of docs/directory.md work as they stand
// there.
func TestDocumentedTables(t *testing.T) {
	page, err := os.ReadFile("../../docs/directory.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```sql\n(.*?)^```").FindAllStringSubmatch(string(page), -1)
	query := regexp.MustCompile(`query "(.*)"`).FindStringSubmatch(string(page))
	if len(blocks) != 2 || query == nil {
		t.Fatalf("%d blocks of SQL, query %q", len(blocks), query)
	}
	each(t, func(t *testing.T, s *server) {
		text := blocks[0][1]
		statements := []string{"DROP TABLE IF EXISTS users CASCADE", "DROP USER IF EXISTS reader"}
		add := []string{"INSERT INTO users (phone, roles) VALUES ('" + known + "', '{admin,support}')"}
		if s.engine == "mysql" {
			text = blocks[1][1]
			add = []string{"INSERT INTO users (phone, roles) VALUES ('" + known + "', '[\"admin\", \"support\"]')", "FLUSH PRIVILEGES"}
		}
		text = strings.NewReplacer("sidegate", "reader", "CHANGE-ME", password).Replace(text)
		for statement := range strings.SplitSeq(text, ";\n") {
			if strings.TrimSpace(statement) != "" {
				statements = append(statements, statement)
			}
		}
		if err := s.run(append(statements, add...)...); err != nil {
			t.Fatal(err)
		}
		reader := func(query string) *sql.Directory {
			return &sql.Directory{Engine: s.engine, DSN: s.dsn("reader", password), Query: s.ask(query)}
		}
		asks(t, "the documented query", open(t, reader(query[1])), `1 customer ["admin" "support"]`, "")
		if err := s.run("ALTER TABLE users ADD secret text", "UPDATE users SET active = FALSE"); err != nil {
			t.Fatal(err)
		}
		asks(t, "a banned user", open(t, reader(query[1])), refused, "")
		asks(t, "another column", open(t, reader("SELECT id, secret, roles FROM users WHERE phone = $1")), fault, "may not read this")
	})
}
