#!/bin/sh
# What the browser tests need beyond pip: Chromium and a font with Traditional Chinese.
# Installs what is missing on Debian and Ubuntu as root; elsewhere says what is skipped. Never fails: those tests skip.
set -u

found() { command -v "$1" >/dev/null 2>&1; }

missing=""
found chromium || found chromium-browser || found google-chrome || missing="chromium"
# WenQuanYi Micro Hei is the smallest good font (1.6 MB; Noto CJK is 57 MB).
if ! found fc-list || [ -z "$(fc-list :lang=zh-tw file 2>/dev/null)" ]; then
    missing="$missing fontconfig fonts-wqy-microhei"
fi
[ -z "$missing" ] && exit 0

if ! found apt-get || [ "$(id -u)" -ne 0 ]; then
    echo "Browser tests will be skipped: missing$(printf ' %s' $missing) (installed by itself only as root on Debian or Ubuntu)."
    exit 0
fi

export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update && apt-get install -y --no-install-recommends $missing; } >/dev/null 2>&1; then
    echo "Browser tests will be skipped: apt-get could not install$(printf ' %s' $missing)."
fi
exit 0
