// Package cache says where what takes long to make or to fetch is kept between
// runs.
package cache

import (
	"os"
	"path/filepath"
)

// Variable is the environment variable that replaces the user's cache folder.
const Variable = "TANDEM_CACHE"

// Dir is the folder that everything of ours is kept under. It may not exist yet.
func Dir() (string, error) {
	if dir := os.Getenv(Variable); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "tandem"), nil
}
