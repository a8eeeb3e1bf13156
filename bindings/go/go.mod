module github.com/libtare/libtare/bindings/go

go 1.19
