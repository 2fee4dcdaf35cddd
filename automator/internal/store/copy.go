package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// tables are everything that a store holds. A row refers to no row of another table, so that any order will do.
var tables = []string{"counters", "events", "event_digests", "cluster_subjects", "scans", "tags", "verifications", "signatures", "tokens", "identities"} //nolint:gochecknoglobals // a constant

// copyBatch is how many rows are inserted at a time.
const copyBatch = 100

// copyTables replaces what a store holds with what another one does, of whatever engines. Both have the same schema.
func copyTables(ctx context.Context, from, to *sql.Tx) error {
	for _, table := range tables {
		if _, err := to.ExecContext(ctx, "DELETE FROM "+table); err != nil { //nolint:gosec // a constant
			return fmt.Errorf("empty %s: %w", table, err)
		}
		if err := copyTable(ctx, table, from, to); err != nil {
			return fmt.Errorf("copy %s: %w", table, err)
		}
	}
	return nil
}

func copyTable(ctx context.Context, table string, from, to *sql.Tx) error {
	rows, err := from.QueryContext(ctx, "SELECT * FROM "+table) //nolint:gosec,unqueryvet // a constant; a copy takes every column there is
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	insert := insertion{table: table, columns: columns}
	row, targets := make([]any, len(columns)), make([]any, len(columns))
	for i := range row {
		targets[i] = &row[i]
	}
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		for i, value := range row {
			if text, ok := value.(string); ok {
				row[i] = storable(text) // SQLite takes more
			}
		}
		if err := insert.add(ctx, to, row); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return insert.flush(ctx, to)
}

// insertion collects rows of a table.
type insertion struct {
	table   string
	columns []string
	values  []any // of all rows that wait
}

func (i *insertion) add(ctx context.Context, tx *sql.Tx, row []any) error {
	i.values = append(i.values, row...)
	if len(i.values) < copyBatch*len(i.columns) {
		return nil
	}
	return i.flush(ctx, tx)
}

func (i *insertion) flush(ctx context.Context, tx *sql.Tx) error {
	if len(i.values) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, i.statement(), i.values...)
	i.values = i.values[:0]
	return err
}

func (i *insertion) statement() string {
	var text strings.Builder
	fmt.Fprintf(&text, "INSERT INTO %s (%s) VALUES ", i.table, strings.Join(i.columns, ", "))
	for n := range i.values {
		switch {
		case n == 0:
			text.WriteString("(")
		case n%len(i.columns) == 0:
			text.WriteString("), (")
		default:
			text.WriteString(", ")
		}
		fmt.Fprintf(&text, "$%d", n+1)
	}
	text.WriteString(")")
	return text.String()
}
