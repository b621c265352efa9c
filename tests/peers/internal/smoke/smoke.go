package smoke

import "errors"

func Main([]string) error { return errors.New("todo") }
