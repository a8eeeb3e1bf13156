module faces

go 1.19

require github.com/libtare/libtare/bindings/go v0.0.0

replace github.com/libtare/libtare/bindings/go => ../../../bindings/go
