package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// errNewer is a reason not to touch a store.
var errNewer = errors.New("a newer version of the automator has written it; run that version, or restore the backup from before the upgrade")

// migrate brings a schema up to date; one that is newer than this program is refused.
func migrate(ctx context.Context, db *sql.DB, dialect goose.Dialect, options ...goose.ProviderOption) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	options = append(options, goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	provider, err := goose.NewProvider(dialect, db, files, options...)
	if err != nil {
		return err
	}
	have, err := provider.GetDBVersion(ctx)
	if err != nil {
		return err
	}
	if err := checkSchema(have); err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

// checkSchema refuses a schema that is newer than this program.
func checkSchema(have int64) error {
	newest, err := newestSchema()
	if err != nil {
		return err
	}
	if have > newest {
		return fmt.Errorf("schema %d, known up to %d: %w", have, newest, errNewer)
	}
	return nil
}

// newestSchema is the version of the newest migration.
func newestSchema() (int64, error) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("no migrations: %w", err)
	}
	return goose.NumericComponent(files[len(files)-1])
}
