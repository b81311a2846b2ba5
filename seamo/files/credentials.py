"""Which credentials a bucket is asked with: found where the provider's own tools find them, never an argument of ours.

Nothing here is kept, printed or handed on: obstore reads the variables itself, and a profile is asked through boto3
whenever the engine needs it.
"""

import os
from importlib.util import find_spec
from typing import Any

from seamo.addresses import Location
from seamo.errors import StoreError
from seamo.extras import needing

_KEY = "AWS_ACCESS_KEY_ID"
_ROLES = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_PROFILE = ("AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
_ACCOUNT = "AZURE_STORAGE_ACCOUNT_NAME"


def s3_credentials(where: str) -> tuple[str, dict[str, Any]]:
    """How an S3 client asks, and what it is made with beside its address: nothing where the environment says all.

    A key in the environment comes first, then roles of containers, then what boto3 finds where it is installed (a
    profile, the role of this machine), then nothing: a public bucket is read without a signature.

    Args:
        where: The address, for messages.

    Returns:
        The kind of credentials, for messages, and arguments of obstore's S3Store.

    Raises:
        StoreError: If a profile is named that has no credentials.
        MissingLibraryError: If a profile is named and boto3 is not installed.
    """
    env = os.environ
    if env.get("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true"):
        return "without a signature, as AWS_SKIP_SIGNATURE says", {"skip_signature": True}
    if env.get(_KEY):
        return f"with the key of {_KEY}", {}
    if any(env.get(name) for name in _ROLES):
        return "with the role of this container", {}
    is_named = any(env.get(name) for name in _PROFILE)
    if is_named or find_spec("boto3"):
        with needing(f"{where}, by a profile,"):
            import boto3
            from botocore.exceptions import BotoCoreError
            from obstore.auth.boto3 import Boto3CredentialProvider
        try:
            return "with a profile or the role of this machine", {
                "credential_provider": Boto3CredentialProvider(boto3.Session())
            }
        except (BotoCoreError, ValueError) as error:
            if is_named:
                what = f"the AWS profile has no credentials ({type(error).__name__})"
                raise StoreError(what, where, "Look at AWS_PROFILE and the files of profiles.") from None
    return "without a signature, because no credentials were found", {"skip_signature": True}


def azure_account(place: Location) -> tuple[str, str]:
    """Container and account of an address of Azure.

    Raises:
        StoreError: If the address does not name the account, and the environment does not either.
    """
    if place.scheme == "abfss":
        container, _, host = place.authority.partition("@")
        return container, host.partition(".")[0]
    account = os.environ.get(_ACCOUNT, "")
    if not account:
        path = f"/{place.path}" if place.path else ""
        fix = f"Set {_ACCOUNT}, or write abfss://{place.authority}@ACCOUNT.dfs.core.windows.net{path}."
        raise StoreError("az:// does not name the storage account", place.url, fix)
    return place.authority, account
