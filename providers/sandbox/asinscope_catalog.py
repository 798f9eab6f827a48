"""The products ASINScope's sandbox knows: one for every code, made from the code alone, the same each time."""

from __future__ import annotations

import hashlib
from typing import Any

CURRENCY = {
    "com": "${:,.2f}",
    "ca": "CA${:,.2f}",
    "de": "€{:,.2f}",
    "fr": "€{:,.2f}",
    "it": "€{:,.2f}",
    "nl": "€{:,.2f}",
    "es": "€{:,.2f}",
    "in": "₹{:,.2f}",
    "uk": "£{:,.2f}",
    "jp": "¥{:,.0f}",
    "au": "A${:,.2f}",
    "mx": "MX${:,.2f}",
}
"""The vendor's 12 domains (AS-B9), each with how its prices are written (our choice; the vendor shows ``$22.79``)."""

_BASE36 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_GROUPS = (
    ("Sports & Outdoors", "Sports"),
    ("Home & Kitchen", "Kitchen"),
    ("Toys & Games", "Toy"),
    ("Health & Household", "Health and Beauty"),
)
_BRANDS = ("CUKU", "Northfold", "Amberline", "Tessel")


def item(code_type: str, code: str, domain: str, variant: int = 0, *, sparse: bool = False) -> dict[str, Any]:
    """Return the product number ``variant`` for ``code``, in the vendor's shape (AS-B19 to AS-B30)."""
    digest = hashlib.sha256(f"{code_type}:{code}:{variant}".encode()).digest()
    asin = code if code_type == "asin" else "B0" + "".join(_BASE36[byte % 36] for byte in digest[:8])
    if sparse:
        return {"asin": asin}
    number = int.from_bytes(digest[8:16], "big")
    category, product_group = _GROUPS[number % len(_GROUPS)]
    brand = _BRANDS[digest[16] % len(_BRANDS)]
    price_cents = 199 + number % 20_000
    price = price_cents if domain == "jp" else price_cents / 100
    names = digest.hex()
    images = [f"https://images.example/I/{names[at : at + 11]}.jpg" for at in (0, 11, 22)]
    return {
        "asin": asin,
        **_codes(code_type, code, number),
        "mpn": str(number % 10_000),
        "bsr": 1 + number % 500_000,
        "category": category,
        "brand": brand,
        "title": f"{brand} {product_group} {asin}",
        "productGroup": product_group,
        "lowestNewPrice": price,
        "lowestFormattedPrice": CURRENCY[domain].format(price),
        "soldByAmazon": digest[17] % 2 == 0,
        "packageDimensions": _dimensions(digest),
        "totalNew": digest[18] % 30,
        "smallImage": images[0],
        "mediumImage": images[0],
        "images": images,
    }


def _dimensions(digest: bytes) -> dict[str, float]:
    names = ("height", "width", "length", "weight")
    return {name: (1 + byte) / 10 for name, byte in zip(names, digest[19:23], strict=True)}


def _codes(code_type: str, code: str, number: int) -> dict[str, Any]:
    """Return UPC-12 and EAN-13 as strings, leading zeros kept; the code asked for is in its list as it was sent."""
    if code_type == "ean":
        upc = code[1:] if len(code) == 13 and code.startswith("0") else None
        ean = code.zfill(13)
        return {"ean": ean, "upc": upc, "upcList": [upc] if upc else [], "eanList": list(dict.fromkeys((ean, code)))}
    upc = code if code_type == "upc" else _with_check_digit(f"{number % 10**11:011d}")
    ean = upc.zfill(13)
    return {"ean": ean, "upc": upc, "upcList": [upc], "eanList": [ean]}


def _with_check_digit(digits: str) -> str:
    """Append the UPC-12 check digit to 11 digits."""
    total = 3 * sum(map(int, digits[::2])) + sum(map(int, digits[1::2]))
    return f"{digits}{-total % 10}"
