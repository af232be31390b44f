"""The calendars that a series may have, by their codes.

Those of the package `exchange_calendars`, which only the services that compute with sessions install; a test compares.
"""

from __future__ import annotations

#: Around the clock, and Monday to Friday.
ALWAYS_CALENDARS = ("24/7", "24/5")
_EXCHANGES = """
AIXK ARCX ASEX ASX BATS BMF BSE BVB BVMF CBOT CFE CME CMES COMEX FWB HKEX ICE ICEUS IEPA JKT JPX LSE LUXSE
NASDAQ NYFE NYMEX NYSE OOTC OSE SIX SSE TASE TSX XAMS XASE XASX XBDA XBEL XBKK XBOG XBOM XBRA XBRU XBSE XBUD
XBUE XCBF XCSE XCYS XDUB XDUS XEEE XETR XEUR XFRA XHAM XHEL XHKG XICE XIDX XIST XJSE XKAR XKLS XKRX XLIM XLIS
XLIT XLJU XLON XLUX XMAD XMEX XMIL XMOS XNAS XNYS XNZE XOSL XPAR XPHS XPRA XRIS XSAU XSES XSGO XSHG XSTO XSTU
XSWX XTAE XTAI XTAL XTKS XTSE XTSX XWAR XWBO XZAG us_futures
"""
CALENDARS = frozenset((*ALWAYS_CALENDARS, *_EXCHANGES.split()))


def require_calendar(calendar: str) -> None:
    """Refuse a code that no service knows.

    Raises:
        ValueError: It is none of `CALENDARS`.
    """
    if calendar not in CALENDARS:
        raise ValueError(
            f"calendar must be 24/7, 24/5 or the code of an exchange such as XNYS, XLON or XTKS, was {calendar[:50]!r}"
        )
