# shellcheck shell=bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Looks at each image as each user, and prints a table; sourced by
# ../builders.sh.
# shellcheck disable=SC2154 # builders.sh sets work and users.

expected="fixed default|/made/by/workdir|1000:1000|hello"

# reference REFERENCE DIR: lists the trees of skopeo and umoci in DIR/reference.
reference() {
    local from
    case $1 in
    oci:*) from=$1 ;;
    archive:*)
        if tar -xOf "${1#archive:}" manifest.json >/dev/null 2>&1; then from=docker-$1; else from=oci-$1; fi
        ;;
    esac
    rm -rf "$2" && mkdir -p "$2"
    # umoci reads no zstd.
    skopeo --insecure-policy copy -q --dest-decompress "$from" "dir:$2/plain" &&
        skopeo --insecure-policy copy -q --format oci "dir:$2/plain" "oci:$2/oci:latest" &&
        umoci unpack --image "$2/oci:latest" "$2/bundle" >/dev/null &&
        list "$2/bundle/rootfs" >"$2/reference" || return
    jq -r '.manifests[0].digest' "$2/oci/index.json" | sed "s|sha256:|$2/oci/blobs/sha256/|" |
        xargs jq '.layers | length' >"$2/layers"
    chmod -R u+rwX "$2/bundle"
    rm -rf "$2/plain" "$2/oci" "$2/bundle"
}

# step NAME COMMAND...: counts COMMAND as a test of this image and user, and
# keeps its output if it fails.
step() {
    local name=$1
    shift
    if "$@" >"$out/$name" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        marks+=" $name"
        { echo "test $builder, $form: $name as $user ... FAILED" && head -n 30 "$out/$name" | cut -c 1-400 | sed 's/^/    /'; } >>"$work/failures"
    fi
}

# as COMMAND...: runs COMMAND as $user, with a store in $home.
as() {
    local ids=()
    [ "$user" = root ] || ids=(setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups --inh-caps=-all --)
    env -C / "HOME=$home" "TARE_STORE=$home/store" "${ids[@]}" "$@"
}

imports() { as "$home/../tare" image import "$reference" image; }
loads() { as "$home/../tare" image load -i "${reference#archive:}"; }
runs() {
    local said asked=() wanted=$expected
    if [ "$user" = tare-t-plain ]; then
        # Such a user has one id: the image's USER is refused with a cure, root
        # is not.
        ! said=$(as "$home/../tare" run image 2>&1) && [[ $said == *"try: usermod --add-subuids"* ]] || return
        asked=(--user 0)
        wanted=${expected/1000:1000/0:0}
    fi
    said=$(as "$home/../tare" run "${asked[@]}" image)
    [ "$said" = "$wanted" ] || { echo "said: $said" && return 1; }
}
# shows: lists the files that a command in the image sees. A missing working
# directory of the image would be made.
shows() {
    as "$home/../tare" run --user 0 --workdir / --cap-add ALL -v "$home/../tree:/tree:ro" --entrypoint /tree \
        image list / >"$out/run.list" && matches run.list no-links
}
unpacks() {
    local inside=()
    rm -rf "$home/unpacked"
    as "$home/../tare" image unpack "$reference" "$home/unpacked" || return
    case $user in
    root) ;;
    *subids) inside=(unshare --map-auto --map-root-user) ;;
    *) inside=(unshare --map-root-user) ;;
    esac
    as "${inside[@]}" "$home/../tree" list "$home/unpacked" >"$out/unpack.list" && matches unpack.list
    local status=$?
    rm -rf "$home/unpacked"
    return "$status"
}
mounts() {
    mkdir -p "$home/mounted"
    as "$home/../tare" mount image "$home/mounted" || return
    list "$home/mounted" >"$out/mount.list"
    as "$home/../tare" umount "$home/mounted"
    matches mount.list no-links
}

# matches LIST FLAG...: compares LIST with umoci's tree and the builder's view.
matches() {
    local file=$1 status=0
    shift
    [ "$user" != tare-t-plain ] || set -- "$@" no-owners no-capabilities
    [ "$user" = root ] || set -- "$@" no-devices
    [ ! -s "$ref/reference" ] || tree compare "$ref/reference" "$out/$file" "$@" || status=1
    [ -z "$own" ] || { echo "beside the builder's own:" && tree compare "$own" "$out/$file" "$@" no-links no-times no-root "$lost"; } || status=1
    return "$status"
}

# look USER: takes all steps; $marks becomes the cell of the table, the steps
# that failed.
look() {
    local user=$1 home=$base/$1 out
    out=$ref/$user
    marks=
    mkdir -p "$out"
    rm -rf "${home:?}"
    install -d -o "$user" -g "$(id -g "$user")" "$home"
    step import imports
    case $reference in archive:*) step load loads ;; esac
    step run runs
    step tree shows
    [ "$user" != root ] || step mount mounts
    step unpack unpacks
    marks=${marks:- ok}
}

verify() {
    local base row builder version form reference own lost ref cells user marks
    # Ordinary users may not reach the sources.
    look_at=$(mktemp -d)
    chmod 755 "$look_at"
    install "$TARE" "$work/tools/tree" "$look_at"
    base=$look_at
    trap 'rm -rf "$look_at"' EXIT
    : >"$work/failures"
    printf '| builder | version | form | layers | %s |\n' "$(printf '%s | ' "${users[@]}" | sed 's/ | $//')" >"$work/table"
    printf '|---|---|---|---%s|\n' "$(printf '|---%.0s' "${users[@]}")" >>"$work/table"
    for row; do
        local dir=$work/images/${row//\//-} count=0
        [ -s "$dir/made" ] || continue
        while IFS=$'\x1f' read -r builder version form reference own lost; do
            count=$((count + 1))
            ref=$dir/look/$count
            rm -rf "$look_at/image" && mkdir "$look_at/image"
            local from=${reference#*:}
            cp -r "$dir/${from%%:*}" "$look_at/image/"
            chmod -R a+rX "$look_at/image"
            reference=${reference%%:*}:$look_at/image/$from
            own=${own:+$dir/$own}
            reference "$reference" "$ref" >"$dir/reference.log" 2>&1 || {
                echo "no reference for $builder, $form: $(tail -n 1 "$dir/reference.log" | cut -c 1-300)"
            }
            cells=""
            for user in "${users[@]}"; do
                look "$user"
                cells+=" |$marks"
            done
            printf '| %s | %s | %s | %s%s |\n' "$builder" "$version" "$form" "$(cat "$ref/layers" 2>/dev/null || echo '?')" \
                "$cells" | tee -a "$work/table"
        done < <(tr '\t' '\037' <"$dir/made")
    done
    echo
    cat "$work/failures"
    cat "$work/table"
}
